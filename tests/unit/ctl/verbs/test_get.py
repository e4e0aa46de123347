"""``kumactl get`` shows resources as Kuma's kumactl does."""

import json

import pytest

MESHES = {
    "total": 2,
    "items": [
        {
            "type": "Mesh",
            "name": "default",
            "creationTime": "2023-11-14T21:00:00Z",
            "modificationTime": "2023-11-14T22:00:00Z",
            "kri": "kri_m____default_",
            "mtls": {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]},
            "routing": {"zoneEgress": True, "localityAwareLoadBalancing": True},
        },
        {"type": "Mesh", "name": "other", "modificationTime": "2023-11-13T22:13:20Z", "mtls": {"enabledBackend": "x"}},
    ],
    "next": None,
}
DATAPLANE = {
    "type": "Dataplane",
    "mesh": "demo",
    "name": "web-1",
    "creationTime": "2023-11-14T22:00:00Z",
    "modificationTime": "2023-11-14T22:13:00Z",
    "labels": {"kuma.io/zone": "default"},
    "kri": "kri_dp_demo_default__web-1_",
    "networking": {
        "address": "10.0.0.1",
        "inbound": [{"port": 80, "tags": {"kuma.io/service": "web", "kuma.io/protocol": "http"}}],
    },
}
POLICY = {
    "type": "MeshTimeout",
    "mesh": "default",
    "name": "t",
    "creationTime": "2023-11-14T22:00:00Z",
    "modificationTime": "2022-11-14T22:00:00Z",
    "labels": {},
    "spec": {"to": [], "a": "on"},
}


def test_meshes_have_their_own_columns(kumactl, cp):
    """MTLS by type and name, the rest on or off."""
    cp.answer("GET", "/meshes", MESHES)
    result = kumactl("get", "meshes")
    assert result.stdout == (
        "NAME      mTLS           LOCALITY   ZONEEGRESS   AGE\n"
        "default   builtin/ca-1   on         on           13m\n"
        "other     off            off        off          1d\n"
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert [asked.path for asked in cp.asked] == ["/", "/meshes"]


def test_data_planes_show_tags_and_address(kumactl, cp):
    """Of the mesh that was asked for; the advertised address wins."""
    cp.answer("GET", "/meshes/demo/dataplanes", {"total": 1, "items": [DATAPLANE], "next": None})
    assert kumactl("get", "dataplanes", "--mesh", "demo").stdout == (
        "MESH   NAME    TAGS                                        ADDRESS    AGE\n"
        "demo   web-1   kuma.io/protocol=http kuma.io/service=web   10.0.0.1   20s\n"
    )
    advertised = {**DATAPLANE, "networking": {"address": "10.0.0.1", "advertisedAddress": "1.2.3.4"}}
    cp.answer("GET", "/meshes/demo/dataplanes/web-1", advertised)
    assert "1.2.3.4" in kumactl("get", "dataplane", "web-1", "-m", "demo").stdout


def test_policies_show_mesh_name_and_age(kumactl, cp):
    """The columns of every mesh-scoped kind; mesh default is the default."""
    cp.answer("GET", "/meshes/default/meshtimeouts/t", POLICY)
    assert kumactl("get", "meshtimeout", "t").stdout == "MESH      NAME   AGE\ndefault   t      1y\n"


@pytest.mark.parametrize("word", ["globalsecrets", "global-secrets"])
def test_global_kinds_have_no_mesh(kumactl, cp, word):
    """Name and age; both spellings of the word work."""
    cp.answer("GET", "/globalsecrets", {"total": 1, "items": [{"type": "GlobalSecret", "name": "s"}], "next": None})
    assert kumactl("get", word).stdout == "NAME   AGE\ns      never\n"


def test_both_spellings_of_one_work(kumactl, cp):
    """Also for a single object."""
    cp.answer("GET", "/globalsecrets/s", {"type": "GlobalSecret", "name": "s"})
    assert kumactl("get", "global-secret", "s").stdout == kumactl("get", "globalsecret", "s").stdout


def test_an_empty_list_is_a_head(kumactl, cp):
    """Scripts find the same first line."""
    cp.answer("GET", "/meshes", {"total": 0, "items": [], "next": None})
    assert kumactl("get", "meshes").stdout == "NAME   mTLS   LOCALITY   ZONEEGRESS   AGE\n"


def test_pages_are_turned_by_hand(kumactl, cp):
    """Size and offset go to the server; the footer says how to go on."""
    cp.answer(
        "GET",
        "/meshes?size=1&offset=1",
        {**MESHES, "items": MESHES["items"][:1], "next": f"{cp.url}/meshes?offset=2&size=1"},
    )
    result = kumactl("get", "meshes", "--size", "1", "--offset", "1")
    assert result.stdout.endswith("13m\n\nRerun command with --offset=2 argument to retrieve more resources\n")
    result = kumactl("get", "meshes", "--size", "0")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: --size: 0 is not in the range")


def test_json_is_in_the_order_of_the_server(kumactl, cp):
    """Two spaces of indent."""
    cp.answer("GET", "/meshes", MESHES)
    result = kumactl("get", "meshes", "-o", "json")
    assert json.loads(result.stdout) == MESHES
    assert result.stdout.startswith('{\n  "total": 2,\n  "items": [\n    {\n      "type": "Mesh",')


def test_yaml_of_a_legacy_resource_begins_with_its_metadata(kumactl, cp):
    """Then its own fields, each part sorted."""
    cp.answer("GET", "/meshes/demo/dataplanes/web-1", DATAPLANE)
    assert kumactl("get", "-o", "yaml", "dataplane", "web-1", "--mesh=demo").stdout == (
        'creationTime: "2023-11-14T22:00:00Z"\nkri: kri_dp_demo_default__web-1_\nlabels:\n  kuma.io/zone: default\n'
        'mesh: demo\nmodificationTime: "2023-11-14T22:13:00Z"\nname: web-1\ntype: Dataplane\n'
        "networking:\n  address: 10.0.0.1\n  inbound:\n  - port: 80\n    tags:\n"
        "      kuma.io/protocol: http\n      kuma.io/service: web\n"
    )


def test_yaml_of_plugin_kinds_and_lists_is_sorted(kumactl, cp):
    """All keys; a list keeps items, next and total."""
    cp.answer("GET", "/meshes/default/meshtimeouts/t", POLICY)
    cp.answer("GET", "/meshes/default/meshtimeouts", {"total": 1, "items": [POLICY], "next": None})
    one = kumactl("get", "meshtimeout", "t", "-oyaml").stdout
    assert one == (
        'creationTime: "2023-11-14T22:00:00Z"\nlabels: {}\nmesh: default\nmodificationTime: "2022-11-14T22:00:00Z"\n'
        'name: t\nspec:\n  a: "on"\n  to: []\ntype: MeshTimeout\n'
    )
    many = kumactl("get", "meshtimeouts", "-oyaml").stdout
    assert many.startswith("items:\n- creationTime:")
    assert many.endswith("next: null\ntotal: 1\n")


@pytest.mark.parametrize(
    "args, message",
    [
        (["get", "dataplane", "x"], "Error: No resources found in default mesh\n"),
        (["get", "dataplane", "x", "-m", "demo"], "Error: No resources found in demo mesh\n"),
        (["get", "mesh", "x"], "Error: No resources found\n"),
        (["get", "meshes", "-o", "xml"], 'Error: unknown output format "xml"; use one of table, yaml, json\n'),
        (["get", "mesh"], 'Error: the argument NAME is missing; see "kumactl get mesh --help"\n'),
        (
            ["get", "dataplan"],
            (
                'Error: unknown command "dataplan" for "kumactl get"; did you mean dataplane or dataplanes?; '
                'see "kumactl get --help"\n'
            ),
        ),
        (["get", "mesh-insights"], 'Error: unknown command "mesh-insights" for "kumactl get"'),
    ],
)
def test_what_cannot_be_shown_is_said(kumactl, args, message):
    """On stderr, exit code 1, nothing on stdout."""
    result = kumactl(*args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(message)


def test_a_refused_list_names_the_kind(kumactl, cp):
    """With the server's own words and fields."""
    cp.refuse("GET", "/meshes/default/secrets", 403, "Access Denied", "user cannot access", field="reason")
    result = kumactl("get", "secrets")
    assert result.stderr.startswith(
        "Error: failed to list Secret: Access Denied (user cannot access)\n* field: reason\ngive the token of a user"
    )
    cp.refuse("GET", "/meshes/default/secrets/s", 403, "Access Denied", "user cannot access")
    assert kumactl("get", "secret", "s").stderr.startswith(
        'Error: failed to get Secret "s": Access Denied (user cannot access)\n'
    )


def test_another_version_is_warned_about(kumactl, cp):
    """On stderr, in Kuma's words; a preview is not."""
    cp.answer("GET", "/meshes", MESHES)
    cp.answer("GET", "/", {"product": "Kuma", "version": "1.0.0"})
    result = kumactl("get", "meshes")
    assert result.exit_code == 0
    assert result.stderr == (
        "WARNING: You are using kumactl version 2.14.3 for Kuma, but the server returned version: Kuma for 1.0.0\n"
    )
    cp.answer("GET", "/", {"product": "Kuma", "version": "0.0.0-preview.v1"})
    assert kumactl("get", "meshes").stderr == ""
    cp.answer("GET", "/", b"nothing", 500)
    result = kumactl("get", "meshes")
    assert (result.exit_code, result.stderr) == (
        0,
        "WARNING: Failed to retrieve server version, can't check compatibility: (500): nothing\n",
    )


def test_an_odd_server_does_not_break_the_table(kumactl, cp):
    """Missing and wrongly typed fields are shown as absent."""
    cp.answer("GET", "/meshes", {"items": [{"mtls": 5, "routing": [], "name": 7, "modificationTime": {}}, "x"]})
    assert kumactl("get", "meshes").stdout.splitlines()[1].split() == ["off", "off", "off", "never"]
    cp.answer("GET", "/meshes", {"items": None, "next": "http://[broken?offset=1"})
    assert kumactl("get", "meshes").exit_code == 0

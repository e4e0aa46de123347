"""``kumactl inspect`` shows what the mesh is doing."""

import json

import pytest

OVERVIEW = {
    "type": "DataplaneOverview",
    "mesh": "default",
    "name": "web-1",
    "dataplane": {"networking": {"inbound": [{"port": 80, "tags": {"kuma.io/service": "web"}}]}},
    "dataplaneInsight": {"subscriptions": [{"connectTime": "2023-11-14T22:13:18Z"}]},
}


def test_data_planes(kumactl, cp):
    """All seventeen columns, one row for each proxy, all pages."""
    path = "/meshes/default/dataplanes/_overview"
    cp.answer("GET", path, {"total": 2, "items": [OVERVIEW], "next": f"{cp.url}{path}?offset=1"})
    cp.answer("GET", f"{path}?offset=1", {"total": 2, "items": [{**OVERVIEW, "name": "web-2"}], "next": None})
    result = kumactl("inspect", "dataplanes")
    head, first, second = result.stdout.splitlines()
    assert head == (
        "MESH      NAME    TAGS                  STATUS   LAST CONNECTED AGO   LAST UPDATED AGO   TOTAL UPDATES   "
        "TOTAL ERRORS   CERT REGENERATED AGO   CERT EXPIRATION   CERT REGENERATIONS   CERT BACKEND   "
        "SUPPORTED CERT BACKENDS   KUMA-DP VERSION   ENVOY VERSION   DEPENDENCIES VERSIONS   NOTES"
    )
    assert first.split() == [
        "default", "web-1", "kuma.io/service=web", "Online", "2s", "never", "0", "0", "never", "-", "0", "-", "-", "-",
        "-", "-",
    ]  # fmt: skip
    assert second.split()[1] == "web-2"
    assert [item["name"] for item in json.loads(kumactl("inspect", "dataplanes", "-ojson").stdout)["items"]] == [
        "web-1",
        "web-2",
    ]
    assert kumactl("inspect", "-oyaml", "dataplanes").stdout.startswith("items:\n- dataplane:\n")


def test_data_planes_are_filtered_by_the_server(kumactl, cp):
    """Tags, gateways, ingresses and the mesh."""
    cp.answer("GET", "/meshes/m/dataplanes/_overview?tag=a%3Ab&tag=c%3Ad&gateway=true&ingress=true", {"items": []})
    result = kumactl("inspect", "dataplanes", "-m", "m", "--tag", "a=b", "--tag", "c=d", "--gateway", "--ingress")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)


def test_a_server_that_turns_in_circles_is_left(kumactl, cp):
    """A next page that is not farther on ends the list."""
    path = "/meshes/default/service-insights"
    cp.answer("GET", path, {"items": [{"name": "a"}], "next": f"{cp.url}{path}?offset=1"})
    cp.answer("GET", f"{path}?offset=1", {"items": [{"name": "b"}], "next": f"{cp.url}{path}?offset=1"})
    assert len(kumactl("inspect", "services").stdout.splitlines()) == 3


def test_meshes(kumactl, cp):
    """Proxies online of all, and a count for each kind of old policy."""
    item = {
        "name": "default",
        "dataplanes": {"total": 10, "online": 9},
        "policies": {"TrafficPermission": {"total": 7}, "RateLimit": {"total": 2}, "MeshTimeout": {"total": 5}},
    }
    cp.answer("GET", "/mesh-insights", {"total": 1, "items": [item], "next": None})
    assert kumactl("inspect", "meshes").stdout == (
        "MESH      DATAPLANES   TRAFFIC PERMISSIONS   TRAFFIC ROUTES   CIRCUIT BREAKERS   HEALTH CHECKS   "
        "FAULT INJECTIONS   EXTERNAL SERVICES   TRAFFIC TRACES   TRAFFIC LOGS   PROXY TEMPLATES   RATE LIMITS\n"
        "default   9/10         7                     0                0                  0               "
        "0                  0                   0                0              0                 2\n"
    )


def test_services(kumactl, cp):
    """Three words for the state; anything unknown is offline."""
    items = [
        {"name": "a", "status": "online", "dataplanes": {"total": 2, "online": 2}},
        {"name": "b", "status": "partially_degraded", "dataplanes": {"total": 2, "online": 1}},
        {"name": "c", "status": "not_available"},
    ]
    cp.answer("GET", "/meshes/demo/service-insights", {"total": 3, "items": items, "next": None})
    assert kumactl("inspect", "services", "--mesh=demo").stdout == (
        "SERVICE   STATUS               DATAPLANES\n"
        "a         Online               2/2\n"
        "b         Partially degraded   1/2\n"
        "c         Offline              0/0\n"
    )
    assert kumactl("inspect", "services").stderr.startswith("Error: failed to list ServiceInsight: (404)")


def test_policies_of_a_data_plane(kumactl, cp):
    """A head for each place where policies work, kinds and names below."""
    items = [
        {"type": "dataplane", "name": "", "matchedPolicies": {"MeshTrace": [{"name": "all"}]}},
        {
            "type": "inbound",
            "name": "10.0.0.1:80:8080",
            "service": "web",
            "matchedPolicies": {
                "MeshTrafficPermission": [{"name": "a"}, {"name": "b"}],
                "MeshTimeout": [{"name": "t"}],
            },
        },
        {"type": "outbound", "name": "127.0.0.1:1", "service": "db", "matchedPolicies": {}},
        {"type": "service", "name": "db", "matchedPolicies": {"MeshRetry": [{"name": "r"}]}},
    ]
    answer = {"kind": "SidecarDataplane", "total": 4, "items": items}
    cp.answer("GET", "/meshes/demo/dataplanes/web-1/policies", answer)
    assert kumactl("inspect", "dataplane", "web-1", "-m", "demo").stdout == (
        "DATAPLANE:\n  MeshTrace\n    all\n\n"
        "INBOUND 10.0.0.1:80:8080(web):\n  MeshTimeout\n    t\n  MeshTrafficPermission\n    a\n    b\n\n"
        "OUTBOUND 127.0.0.1:1(db):\n\n"
        "SERVICE db:\n  MeshRetry\n    r\n\n"
    )
    assert json.loads(kumactl("inspect", "dataplane", "web-1", "-m", "demo", "-o", "json").stdout) == answer
    assert kumactl("inspect", "dataplane", "web-1", "-m", "demo", "-o", "yaml").stdout.startswith("items:\n")


@pytest.mark.parametrize(
    "args, path",
    [
        (["--type", "config-dump"], "xds"),
        (["--config-dump"], "xds"),
        (["--type=config-dump", "--include-eds"], "xds?include_eds=true"),
        (["--type", "stats"], "stats"),
        (["--type", "clusters"], "clusters"),
        (["--type", "config"], "_config?shadow=false"),
        (["--type", "config", "--shadow", "--include", "diff"], "_config?shadow=true&include=diff"),
    ],
)
def test_other_aspects_are_shown_as_they_come(kumactl, cp, args, path):
    """Whatever Envoy or the control plane answers, ending in a line break."""
    cp.answer("GET", f"/meshes/default/dataplanes/web-1/{path}", "a: 1\nü".encode(), 200, {})
    result = kumactl("inspect", "dataplane", "web-1", *args)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "a: 1\nü\n", "")


@pytest.mark.parametrize(
    "args, message",
    [
        (
            ["x"],
            'nothing known about Dataplane "x" in mesh "default": (404): 404: Page Not Found; see "kumactl inspect',
        ),
        (["x", "--shadow"], "--shadow and --include need --type=config"),
        (["x", "--include-eds"], "--include-eds needs --type=config-dump"),
        (["x", "--type", "dump"], "--type: 'dump' is not one of"),
        (["y"], 'failed to inspect Dataplane "y" in mesh "default": Bad Request (not connected)'),
    ],
)
def test_what_cannot_be_inspected_is_said(kumactl, cp, args, message):
    """With what to do next."""
    cp.refuse("GET", "/meshes/default/dataplanes/y/policies", 400, "Bad Request", "not connected")
    result = kumactl("inspect", "dataplane", *args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {message}")

"""Reading and writing resources over HTTP."""

import copy

import pytest
from dirty_equals import IsStr

from tests.contract.api.control_plane import DATAPLANE, TIMEOUT

WEB = "/meshes/default/dataplanes/web-1"


async def test_a_new_resource_is_201_and_a_known_one_200(client):
    """PUT says whether it created or replaced."""
    created = await client.put(WEB, json=DATAPLANE)
    replaced = await client.put(WEB, json=DATAPLANE)

    assert (created.status_code, created.text) == (201, "{}\n")
    assert (replaced.status_code, replaced.text) == (200, "{}\n")


async def test_json_is_printed_as_kuma_prints_it(client):
    """One space of indent, a line break at the end, nothing escaped for HTML."""
    await client.put("/meshes/default/meshtimeouts/short", json=TIMEOUT)

    answer = await client.get("/meshes/default/meshtimeouts/short")

    assert answer.headers["content-type"] == "application/json"
    assert answer.text.startswith('{\n "type": "MeshTimeout",\n "mesh": "default",\n "name": "short",\n "creationTime"')
    assert answer.text.endswith("}\n")


async def test_a_plugin_kind_keeps_its_fields_under_spec(client):
    """The envelope of a policy, fields in Kuma's order."""
    await client.put("/meshes/default/meshtimeouts/short", json=TIMEOUT)

    body = (await client.get("/meshes/default/meshtimeouts/short")).json()

    time = IsStr(regex=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z")
    assert list(body.items()) == [
        ("type", "MeshTimeout"),
        ("mesh", "default"),
        ("name", "short"),
        ("creationTime", time),
        ("modificationTime", body["creationTime"]),
        (
            "labels",
            {
                "kuma.io/env": "universal",
                "kuma.io/mesh": "default",
                "kuma.io/origin": "zone",
                "kuma.io/zone": "default",
            },
        ),
        ("kri", "kri_mt_default_default__short_"),
        ("spec", TIMEOUT["spec"]),
    ]


async def test_a_legacy_kind_has_its_fields_at_the_top(client):
    """The envelope of a Dataplane; what was written comes back next to the metadata."""
    await client.put(WEB, json=DATAPLANE)

    body = (await client.get(WEB)).json()

    assert list(body)[:3] == ["type", "mesh", "name"]
    assert body["networking"]["inbound"][0]["tags"]["kuma.io/service"] == "web"
    assert body["kri"] == "kri_dp_default_default__web-1_"
    assert "spec" not in body


async def test_a_kind_without_short_name_has_no_kri(client):
    """Secrets cannot be found by KRI."""
    secret = {"type": "GlobalSecret", "name": "s", "data": "AQI="}
    await client.put("/global-secrets/s", json=secret)

    body = (await client.get("/globalsecrets/s")).json()

    assert "kri" not in body
    assert body["data"] == "AQI="


async def test_deleting_answers_an_empty_object_and_then_404(client):
    """A resource that is gone is not found, also by DELETE."""
    await client.put(WEB, json=DATAPLANE)

    first, second = await client.delete(WEB), await client.delete(WEB)

    assert (first.status_code, first.text) == (200, "{}\n")
    assert second.status_code == 404
    assert second.json()["title"] == "Could not delete a resource"


async def test_warnings_come_with_the_answer(client):
    """What is accepted but has no effect is said."""
    dataplane = {**DATAPLANE, "netwroking": {}}

    answer = await client.put(WEB, json=dataplane)

    assert answer.status_code == 201
    assert any("netwroking" in warning for warning in answer.json()["warnings"])


async def test_every_violation_is_reported_at_once_under_both_names(client):
    """invalid_parameters and causes mirror each other."""
    dataplane = copy.deepcopy(DATAPLANE)
    dataplane["networking"]["address"] = ""
    dataplane["networking"]["inbound"][0]["port"] = 0

    body = (await client.put(WEB, json=dataplane)).json()

    assert list(body) == ["type", "status", "title", "detail", "invalid_parameters", "details", "causes"]
    assert (body["status"], body["title"], body["detail"]) == (
        400,
        "Could not process a resource",
        "Resource is not valid",
    )
    assert len(body["invalid_parameters"]) >= 2
    assert body["causes"] == [{"field": p["field"], "message": p["reason"]} for p in body["invalid_parameters"]]


@pytest.mark.parametrize(
    "change, field", [({"name": "other"}, "name"), ({"type": "Mesh"}, "type"), ({"mesh": "other"}, "mesh")]
)
async def test_the_body_has_to_agree_with_the_url(client, change, field):
    """A resource cannot be stored under another name than its own."""
    answer = await client.put(WEB, json={**DATAPLANE, **change})

    assert answer.status_code == 400
    assert answer.json()["invalid_parameters"] == [
        {"field": field, "reason": f"{field} from the URL has to be the same as in body"}
    ]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_missing_mesh_wins_over_every_other_fault(client, method):
    """The mesh in the path is looked up first, before the body is read or the name is known."""
    answer = await client.request(method, "/meshes/nowhere/dataplanes/x", headers={"content-type": "application/json"})

    assert answer.status_code == 404
    assert (answer.json()["title"], answer.json()["detail"]) == ("Failed to retrieve Mesh", "Not found")


async def test_a_missing_resource_is_not_found(client):
    """The title names the operation."""
    body = (await client.get(WEB)).json()

    assert (body["status"], body["title"], body["detail"]) == (404, "Could not retrieve a resource", "Not found")


async def test_one_list_spans_all_meshes_and_one_each(client):
    """Mesh-scoped kinds are listed per mesh, and all together by mesh then name."""
    await client.put("/meshes/another", json={"type": "Mesh", "name": "another"})
    for mesh, name in (("default", "web-2"), ("default", "web-1"), ("another", "web-9")):
        await client.put(f"/meshes/{mesh}/dataplanes/{name}", json={**DATAPLANE, "mesh": mesh, "name": name})

    of_mesh = (await client.get("/meshes/default/dataplanes")).json()
    of_all = (await client.get("/dataplanes")).json()

    assert [item["name"] for item in of_mesh["items"]] == ["web-1", "web-2"]
    assert [(item["mesh"], item["name"]) for item in of_all["items"]] == [
        ("another", "web-9"),
        ("default", "web-1"),
        ("default", "web-2"),
    ]


async def test_pages_lead_to_each_other(client):
    """The link repeats the query in order and is null at the end; total counts what the filter leaves."""
    for number in range(5):
        name = f"m-{number}"
        await client.put(f"/meshes/{name}", json={"type": "Mesh", "name": name})

    first = (await client.get("/meshes?size=3&name=m-")).json()
    last = (await client.get(first["next"])).json()

    assert first["total"] == last["total"] == 5
    assert first["next"] == "http://localhost:5681/meshes?name=m-&offset=3&size=3"
    assert [item["name"] for item in first["items"] + last["items"]] == [f"m-{n}" for n in range(5)]
    assert last["next"] is None
    assert list(last) == ["total", "items", "next"]


@pytest.mark.parametrize(
    "size, reason",
    [
        ("x", "invalid format"),
        ("0", "must be greater than 0"),
        ("-1", "must be greater than 0"),
        ("2000", "invalid page size of 2000. Maximum page size is 1000"),
        ("9" * 500, "invalid format"),
    ],
)
async def test_a_bad_page_size_is_explained(client, size, reason):
    """Size is a number from 1 to 1000."""
    answer = await client.get(f"/meshes?size={size}")

    body = answer.json()
    assert (answer.status_code, body["title"], body["detail"]) == (
        400,
        "Could not retrieve resources",
        "Invalid page size",
    )
    assert body["invalid_parameters"] == [{"field": "size", "reason": reason}]


@pytest.mark.parametrize(
    "offset, detail",
    [
        ("x", 'invalid: invalid offset: strconv.Atoi: parsing "x": invalid syntax'),
        ("-1", "invalid: invalid offset: must be non-negative"),
    ],
)
async def test_a_bad_offset_is_explained(client, offset, detail):
    """Offset is a number from 0."""
    answer = await client.get(f"/meshes?offset={offset}")

    assert (answer.status_code, answer.json()["detail"]) == (400, detail)


async def test_an_offset_behind_the_end_gives_an_empty_page(client):
    """Not an error: the list may have become shorter."""
    body = (await client.get("/meshes?offset=1000000000000")).json()

    assert (body["total"], body["items"], body["next"]) == (1, [], None)


async def test_lists_are_filtered_by_label(client):
    """All label filters have to hold."""
    for name, team in (("a", "red"), ("b", "blue")):
        labelled = {**TIMEOUT, "name": name, "labels": {"team": team, "kuma.io/mesh": "default"}}
        assert (await client.put(f"/meshes/default/meshtimeouts/{name}", json=labelled)).status_code == 201

    query = "filter[labels.team]=blue&filter[labels.kuma.io/origin]=zone"
    body = (await client.get(f"/meshes/default/meshtimeouts?{query}")).json()

    assert [item["name"] for item in body["items"]] == ["b"]


@pytest.mark.parametrize(
    "parameter, reason",
    [
        ("filter[name]", "filters are only supported on labels"),
        ("filter[labels.]", "filters are only supported on labels"),
        ("filter[labels.team][eq]", "advanced filters are not supported"),
    ],
)
async def test_other_filters_are_refused(client, parameter, reason):
    """A filter that does not exist must not look as if it had matched."""
    answer = await client.get("/meshes/default/meshtimeouts", params={parameter: "x"})

    assert answer.status_code == 400
    assert answer.json()["invalid_parameters"] == [
        {"field": f"/meshes/{{mesh}}/meshtimeouts.{parameter}", "reason": reason}
    ]


@pytest.mark.parametrize(
    "query, names",
    [
        ("tag=kuma.io/service:we", ["web-1"]),
        ("tag=kuma.io/service:*", ["db-1", "web-1"]),
        ("tag=kuma.io/service:web&tag=version:v1", ["web-1"]),
        ("tag=kuma.io/service:web&tag=version:v2", []),
        ("tag=nonsense", ["db-1", "gw", "web-1"]),
        ("gateway=false", ["db-1", "web-1"]),
        ("gateway=true", ["gw"]),
        ("gateway=delegated", ["gw"]),
        ("gateway=builtin", []),
        ("ingress=true", ["db-1", "gw", "web-1"]),
    ],
)
async def test_proxies_are_filtered_by_tag_and_gateway(client, query, names):
    """The value of a tag matches in part, all tags within one inbound; the lists and their overviews agree."""
    db = copy.deepcopy(DATAPLANE)
    db["name"] = "db-1"
    db["networking"]["inbound"][0]["tags"] = {"kuma.io/service": "db"}
    gateway = {
        **DATAPLANE,
        "name": "gw",
        "networking": {"address": "10.0.0.9", "gateway": {"tags": {"gw": "1", "kuma.io/service": "edge"}}},
    }
    if "service:*" in query:
        gateway = None
    for dataplane in filter(None, (DATAPLANE, db, gateway)):
        answer = await client.put(f"/meshes/default/dataplanes/{dataplane['name']}", json=dataplane)
        assert answer.status_code == 201, answer.text

    plain = (await client.get(f"/meshes/default/dataplanes?{query}")).json()
    overviews = (await client.get(f"/meshes/default/dataplanes/_overview?{query}")).json()

    assert [item["name"] for item in plain["items"]] == names
    assert [item["name"] for item in overviews["items"]] == names


async def test_an_unknown_gateway_filter_is_refused(client):
    """The words are listed."""
    answer = await client.get("/dataplanes?gateway=maybe")

    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        'bad request: the query parameter "gateway" must be one of true, false, builtin, delegated'
    )


async def test_the_kubernetes_form_of_a_proxy(client):
    """Old-style kinds carry their mesh at the top, beside the metadata."""
    await client.put(WEB, json=DATAPLANE)

    body = (await client.get(f"{WEB}?format=k8s&namespace=demo")).json()

    assert (body["kind"], body["apiVersion"], body["mesh"]) == ("Dataplane", "kuma.io/v1alpha1", "default")
    assert (body["metadata"]["name"], body["metadata"]["namespace"]) == ("web-1", "demo")
    assert body["spec"]["networking"]["address"] == "10.0.0.1"


async def test_the_kubernetes_form_of_a_policy_and_of_a_secret(client):
    """Typed kinds carry their mesh as a label; secrets are native ones."""
    await client.put("/meshes/default/meshtimeouts/short", json=TIMEOUT)
    secret = {"type": "Secret", "mesh": "default", "name": "s", "data": "AQI="}
    await client.put("/meshes/default/secrets/s", json=secret)

    policy = (await client.get("/meshes/default/meshtimeouts/short?format=kubernetes")).json()
    native = (await client.get("/meshes/default/secrets/s?format=k8s")).json()

    assert "mesh" not in policy
    assert policy["metadata"]["labels"]["kuma.io/mesh"] == "default"
    assert (native["kind"], native["apiVersion"], native["type"]) == ("Secret", "v1", "system.kuma.io/secret")
    assert native["data"] == {"value": "AQI="}


async def test_an_unknown_format_is_refused(client):
    """The known ones are listed."""
    answer = await client.get("/meshes/default?format=xml")

    assert answer.status_code == 400
    assert "universal, k8s, kubernetes" in answer.json()["detail"]


async def test_a_slash_at_the_end_changes_nothing(client):
    """Kuma's users write both."""
    assert (await client.get("/meshes/")).json()["total"] == (await client.get("/meshes")).json()["total"] == 1


async def test_names_are_decoded_once(client):
    """An encoded slash is a part of the name, not a separator."""
    answer = await client.get("/meshes/default/dataplanes/a%2Fb")

    assert answer.status_code == 404
    assert answer.json()["title"] == "Could not retrieve a resource"


async def test_the_author_of_a_change_is_on_record(cp, client):
    """The change log names the caller and where it called from."""
    await client.put(WEB, json=DATAPLANE)

    last = (await cp.store.history(limit=1000))[-1]

    assert (last.author.name, last.author.address) == ("mesh-system:admin", "127.0.0.1")


async def test_a_mesh_with_proxies_cannot_be_deleted(client):
    """It says what is in the way."""
    await client.put(WEB, json=DATAPLANE)

    answer = await client.delete("/meshes/default")

    assert answer.status_code == 400
    assert answer.json()["invalid_parameters"] == [
        {"field": "mesh", "reason": "unable to delete mesh, there are still some dataplanes attached"}
    ]


async def test_what_is_shown_can_be_written_back(client):
    """As Kuma's own kumactl does, which sends all it knows of a resource: nothing changes, nothing is warned about."""
    await client.put(WEB, json=DATAPLANE)
    await client.put(
        "/meshes/default/secrets/s", json={"type": "Secret", "mesh": "default", "name": "s", "data": "AQI="}
    )
    kinds = [kind for kind in (await client.get("/_resources")).json()["resources"] if not kind["readOnly"]]
    written = 0
    for kind in kinds:
        for shown in (await client.get(f"/{kind['path']}")).json()["items"]:
            home = f"/meshes/{shown['mesh']}" if "mesh" in shown else ""
            if shown["name"].startswith(("dataplane-token", "user-token", "zone-token")):
                continue  # made by the control plane, without the labels that every write adds
            path = f"{home}/{kind['path']}/{shown['name']}"
            body = {**shown, "creationTime": "0001-01-01T00:00:00Z", "modificationTime": "0001-01-01T00:00:00Z"}

            answer = await client.put(path, json=body)

            assert answer.status_code == 200, answer.text
            told = [text for text in answer.json().get("warnings", []) if "deprecated" not in text]
            assert told == []
            assert (await client.get(path)).json() == shown
            written += 1
    assert written > 5

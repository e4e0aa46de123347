"""What was observed of proxies, services and meshes."""

import copy

import pytest

from tests.contract.api.control_plane import DATAPLANE

OVERVIEWS = "/meshes/default/dataplanes/_overview"


def dataplane(name, service="web", **inbound):
    """A proxy that offers one service."""
    made = copy.deepcopy(DATAPLANE)
    made["name"] = name
    made["networking"]["inbound"][0] |= {"tags": {"kuma.io/service": service}, **inbound}
    return made


@pytest.fixture
async def proxies(cp, client):
    """web-1 is connected, web-2 is not, db-1 is connected and not ready."""
    for one in (dataplane("web-1"), dataplane("web-2"), dataplane("db-1", "db", state="NotReady")):
        answer = await client.put(f"/meshes/default/dataplanes/{one['name']}", json=one)
        assert answer.status_code == 201, answer.text
    await cp.connect("web-1", mTLS={"issuedBackend": "ca-1", "supportedBackends": ["ca-1"]})
    await cp.connect("db-1")


@pytest.mark.parametrize(
    "path", [OVERVIEWS, "/dataplanes/_overview", "/meshes/default/dataplanes+insights", "/dataplanes+insights"]
)
async def test_overviews_join_proxy_and_insight(client, proxies, path):
    """One that never connected has no insight; old names of the endpoint work."""
    items = (await client.get(path)).json()["items"]

    assert [item["name"] for item in items] == ["db-1", "web-1", "web-2"]
    assert {item["type"] for item in items} == {"DataplaneOverview"}
    assert items[1]["kri"] == "kri_dp_default_default__web-1_"
    assert items[1]["dataplane"]["networking"]["address"] == "10.0.0.1"
    assert items[1]["dataplaneInsight"]["subscriptions"][0]["connectTime"] == "2026-01-01T00:00:00Z"
    assert "dataplaneInsight" not in items[2]


async def test_many_overviews_are_joined_as_few_are(cp, client):
    """Nothing changes with the size of a page."""
    for number in range(15):
        name = f"web-{number:02}"
        await client.put(f"/meshes/default/dataplanes/{name}", json=dataplane(name))
        await cp.connect(name)

    few, many = [(await client.get(f"{OVERVIEWS}?size={size}")).json()["items"] for size in (5, 15)]

    assert many[:5] == few
    assert all("dataplaneInsight" in item for item in many)


@pytest.mark.parametrize("path", ["dataplanes/web-1/_overview", "dataplanes+insights/web-1"])
async def test_one_overview(client, proxies, path):
    """The same object as in the list."""
    one = (await client.get(f"/meshes/default/{path}")).json()

    assert one == (await client.get(f"{OVERVIEWS}?name=web-1")).json()["items"][0]


async def test_a_missing_overview_has_its_own_title(client):
    """Kuma's words."""
    answer = await client.get("/meshes/default/dataplanes/none/_overview")

    assert (answer.status_code, answer.json()["title"]) == (404, "Could not retrieve insights")


async def test_the_stored_insight_is_a_resource(client, proxies):
    """Counters are text, as protobuf prints 64-bit numbers."""
    body = (await client.get("/meshes/default/dataplane-insights/web-1")).json()

    assert (body["type"], body["name"]) == ("DataplaneInsight", "web-1")
    assert body["mTLS"]["issuedBackend"] == "ca-1"


async def test_a_mesh_insight_counts_its_mesh(client, proxies):
    """Proxies by how they stand, resources by kind."""
    body = (await client.get("/mesh-insights/default")).json()

    assert (body["type"], body["name"]) == ("MeshInsight", "default")
    assert body["dataplanes"] == {"total": 3, "online": 1, "offline": 2}
    assert body["policies"]["MeshTimeout"] == {"total": 2}
    assert body["resources"]["Dataplane"] == {"total": 3}
    assert (await client.get("/mesh-insights")).json()["items"] == [body]


async def test_insights_follow_a_change(cp, client, proxies):
    """What is written is counted by the next reading."""
    before = (await client.get("/mesh-insights/default")).json()
    await cp.connect("web-2")

    # A busy control plane may be a moment late on purpose; a small one is not noticeably.
    for _ in range(200):
        after = (await client.get("/mesh-insights/default")).json()
        if after != before:
            break

    assert (before["dataplanes"]["online"], after["dataplanes"]["online"]) == (1, 2)


async def test_an_unchanged_store_gives_equal_insights(client, proxies):
    """Byte for byte: nothing is computed twice."""
    assert (await client.get("/mesh-insights")).content == (await client.get("/mesh-insights")).content


async def test_a_mesh_that_does_not_exist_has_no_insight(client):
    """404 as for any resource."""
    assert (await client.get("/mesh-insights/none")).status_code == 404


async def test_service_insights_are_one_object_per_service(client, proxies):
    """They are named like the service."""
    body = (await client.get("/meshes/default/service-insights")).json()

    assert [(item["name"], item["status"]) for item in body["items"]] == [
        ("db", "offline"),
        ("web", "partially_degraded"),
    ]
    assert body["items"][1]["dataplanes"] == {"total": 2, "online": 1, "offline": 1}
    assert body["items"][1]["addressPort"] == "web.mesh:80"
    assert body["items"][1]["issuedBackends"] == {"ca-1": 1}
    assert (await client.get("/service-insights")).json() == body
    assert (await client.get("/meshes/default/service-insights/web")).json() == body["items"][1]


async def test_an_unknown_service_has_zero_figures(client, proxies):
    """Not a 404, as in Kuma."""
    answer = await client.get("/meshes/default/service-insights/none")

    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["dataplanes"]) == ("none", {})


@pytest.mark.parametrize(
    "query, names",
    [("type=internal", ["db", "web"]), ("type=external,gateway_builtin", []), ("name=we", ["web"]), ("size=1", ["db"])],
)
async def test_service_insights_are_filtered(client, proxies, query, names):
    """By type and name, and paged."""
    body = (await client.get(f"/meshes/default/service-insights?{query}")).json()

    assert [item["name"] for item in body["items"]] == names


async def test_an_unknown_service_type_is_refused(client):
    """The known ones are listed."""
    answer = await client.get("/service-insights?type=x")

    assert answer.status_code == 400
    assert "internal, external, gateway_delegated, gateway_builtin" in answer.json()["detail"]


async def test_the_global_insight_sums_the_meshes(client, proxies):
    """Keys stand in alphabetical order."""
    body = (await client.get("/global-insight")).json()

    assert list(body) == ["createdAt", "dataplanes", "meshes", "policies", "resources", "services", "zones"]
    assert body["dataplanes"]["standard"] == {"offline": 2, "online": 1, "partiallyDegraded": 0, "total": 3}
    assert body["services"]["internal"] == {"offline": 1, "online": 0, "partiallyDegraded": 1, "total": 2}
    assert body["meshes"] == {"total": 1}
    assert body["policies"] == {"total": 4}
    assert body["resources"]["MeshTimeout"] == {"total": 2}
    assert body["zones"]["controlPlanes"] == {"online": 0, "total": 0}


async def test_the_old_global_insights_count_global_kinds(client):
    """Kept for old clients."""
    body = (await client.get("/global-insights")).json()

    assert list(body) == ["type", "creationTime", "resources"]
    assert body["resources"] == {"GlobalSecret": {"total": 2}, "Mesh": {"total": 1}}

"""What the control plane tells about itself."""

import pytest

from kuma.core.model.kinds import KINDS
from tests.contract.api.control_plane import DATAPLANE, REMOTE, TIMEOUT


async def test_the_index_is_what_kumactl_compares(cp):
    """Product and version are Kuma's; our own stand beside. No credential is needed."""
    async with cp.client(REMOTE) as client:
        answer = await client.get("/")

    body = answer.json()
    assert list(body) == sorted(body)
    assert (body["product"], body["version"]) == ("Kuma", "2.14.3")
    assert body["clusterId"] == "11111111-2222-3333-4444-555555555555"
    assert body["instanceId"] == "host-1-abcd"


async def test_the_configuration_is_one_line_with_secrets_masked(client):
    """Kuma's names and values."""
    answer = await client.get("/config")

    assert answer.text.startswith('{"general":{')
    assert "\n" not in answer.text
    assert answer.json()["mode"] == "zone"
    assert answer.json()["store"]["postgres"]["password"] == "*****"


async def test_every_kind_is_described_and_served(client):
    """What is in the list is at its path; what is not built is in neither."""
    kinds = (await client.get("/_resources")).json()["resources"]

    assert [kind["name"] for kind in kinds] == sorted(kind.name for kind in KINDS)
    for kind in kinds:
        assert (await client.get(f"/{kind['path']}")).status_code == 200
    assert (await client.get("/meshgateways")).status_code == 404


async def test_policies_say_where_they_apply(client):
    """To inbound traffic, to outbound traffic, or to both."""
    policies = {policy["name"]: policy for policy in (await client.get("/policies")).json()["policies"]}

    assert policies["MeshTrafficPermission"] == {
        "name": "MeshTrafficPermission",
        "readOnly": False,
        "path": "meshtrafficpermissions",
        "singularDisplayName": "Mesh Traffic Permission",
        "pluralDisplayName": "Mesh Traffic Permissions",
        "isExperimental": False,
        "isTargetRefBased": True,
        "isInbound": True,
        "isOutbound": False,
    }
    assert list(policies) == sorted(policies)


async def test_every_listed_item_is_found_by_its_kri(client):
    """Also one whose display name is not its name; a section does not matter."""
    await client.put("/meshes/default/dataplanes/web-1", json=DATAPLANE)
    named = {**TIMEOUT, "name": "t-1", "labels": {"kuma.io/display-name": "shown"}}
    assert (await client.put("/meshes/default/meshtimeouts/t-1", json=named)).status_code == 201

    for path in ("/meshes", "/dataplanes", "/meshtimeouts"):
        for item in (await client.get(path)).json()["items"]:
            assert (await client.get(f"/_kri/{item['kri']}")).json() == item
    assert (await client.get("/_kri/kri_dp_default_default__web-1_8080")).json()["name"] == "web-1"
    assert (await client.get("/_kri/kri_dp_default___web-1_?format=k8s")).json()["kind"] == "Dataplane"


@pytest.mark.parametrize(
    "kri, status",
    [
        ("kri_dp_default_default__none_", 404),
        ("kri_dp_nowhere_default__web-1_", 404),
        ("kri_dp_default_elsewhere__web-1_", 404),
        ("kri_zz_default_default__web-1_", 400),
        ("kri_dp___x__", 400),
        ("kri_m_default___x_", 400),
        ("kri", 400),
        ("web-1", 400),
    ],
)
async def test_a_kri_that_leads_nowhere(client, kri, status):
    """Malformed is 400, unknown 404."""
    await client.put("/meshes/default/dataplanes/web-1", json=DATAPLANE)

    assert (await client.get(f"/_kri/{kri}")).status_code == status


async def test_requests_are_measured_by_route(cp, client):
    """Names of resources never become labels of a metric."""
    await client.get("/meshes/some-mesh")
    await client.get("/no/such/path")
    await client.request("BREW", "/meshes")

    count = "api_server_http_request_duration_seconds_count"
    for handler, method, code in (
        ("/meshes/{name}", "GET", "404"),
        ("unknown", "GET", "404"),
        ("unknown", "OTHER", "405"),
    ):
        labels = {"service": "", "handler": handler, "method": method, "code": code}
        assert cp.registry.get_sample_value(count, labels) == 1.0
        assert cp.registry.get_sample_value("api_server_http_response_size_bytes_sum", labels) > 0
    assert cp.registry.get_sample_value("api_server_http_requests_inflight", {"service": "", "handler": ""}) == 0

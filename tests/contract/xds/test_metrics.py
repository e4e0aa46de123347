"""The names by which dashboards made for Kuma know what happens between the control plane and its proxies."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from kuma.core.xds.names import CLUSTER, LISTENER, SECRET
from kuma.cp.metrics import ControlPlaneCollector, Identity
from tests.contract.xds.stack import Prober, eventually, node

MTLS = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}


async def test_what_happens_is_counted_under_names_users_know(stack, proxy):
    """Computed, issued, sent, accepted, refused, probed; and who is connected."""
    registry = CollectorRegistry()
    registry.register(ControlPlaneCollector(Identity("cp-1", "cluster"), stack.meshes, stack.streams, stack.health))

    def shown():
        lines = generate_latest(registry).decode().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))

    await stack.apply(type="Mesh", name="default", mtls=MTLS)
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        await web.holds(SECRET, "identity_cert:secret:default", "mesh_ca:secret:default")
        await web.holds(CLUSTER, "backend", "localhost:8080")
        await web.holds(LISTENER, "inbound:10.0.0.1:8080", "outbound:127.0.0.1:10001")
        prober = Prober(stack, node("web-1"), await stack.token("web-1"))
        async with prober.connected():
            await prober.wanted()
            await prober.report({"localhost:8080": 1})
            await eventually(lambda: shown()["hds_responses_sent"] == "1.0")
            found = shown()

    expected = {
        'xds_client_versions{client_version="0.1"}': "1.0",
        "xds_streams_active": "1.0",
        "hds_streams_active": "1.0",
        "hds_requests_received": "1.0",
        "hds_generation_errors": "0.0",
        "xds_generation_errors": "0.0",
        'cert_generation{mesh="default"}': "1.0",
        'xds_snapshot_resources_bucket{le="1.0",resource_type="Cluster"}': "0.0",
        'xds_snapshot_resources_bucket{le="2.0",resource_type="Cluster"}': "1.0",
        'xds_snapshot_resources_sum{resource_type="Cluster"}': "2.0",
    }
    assert {name: found.get(name) for name in expected} == expected
    for name in (
        'xds_generation_count{proxy_type="dataplane",result="generated"}',
        'xds_generation_sum{proxy_type="dataplane",result="generated"}',
        'xds_dataplane_config_regenerated_total{mesh="default"}',
        'xds_cert_expiration_timestamp_seconds{mesh="default"}',
        "hds_generation_count",
    ):
        assert float(found[name]) > 0, name

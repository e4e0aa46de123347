"""Service probes: what a proxy is told to probe, and what its reports do."""

import json

import grpc

from kuma.core.model.resource import Key
from kuma.envoy_api.envoy.config.core.v3.health_check_pb2 import HEALTHY, UNHEALTHY
from tests.contract.xds.stack import Prober, dataplane, eventually, node

ADMIN = "kuma:envoy:admin"


def probed(name="web-1"):
    """A Dataplane with a probe on one of two inbounds."""
    made = dataplane(name, "web")
    made["networking"]["inbound"][0]["serviceProbe"] = {"tcp": {}}
    made["networking"]["inbound"].append({"port": 9090, "tags": {"kuma.io/service": "plain"}})
    return made


def described(name="web-1", **more):
    """A node with an admin interface."""
    return node(name, **{"dataplane.admin.port": "9901", "dataplane.readinessReporter.port": "9902", **more})


async def states(stack, name="web-1"):
    """State of each inbound."""
    record = await stack.store.get(Key("Dataplane", "default", name))
    return [one.get("state", "Ready") for one in json.loads(record.spec)["networking"]["inbound"]]


async def test_a_proxy_probes_itself_and_inbounds_with_a_probe(stack):
    """And is told anew when its Dataplane changes."""
    await stack.apply(**probed())
    async with Prober(stack, described(), await stack.token("web-1")).connected() as prober:
        wanted = await prober.wanted()
        assert [one.cluster_name for one in wanted.cluster_health_checks] == [ADMIN, "localhost:8080"]

        await stack.apply(**dataplane("web-1", "web"))
        assert [one.cluster_name for one in (await prober.wanted()).cluster_health_checks] == [ADMIN]


async def test_reports_set_the_health_of_inbounds(stack):
    """A probe speaks for its inbound; an unwell proxy takes no traffic anywhere, and comes back."""
    await stack.apply(**probed())
    async with Prober(stack, described(), await stack.token("web-1")).connected() as prober:
        await prober.wanted()
        for report, expected in (
            ({ADMIN: HEALTHY, "localhost:8080": HEALTHY}, ["Ready", "Ready"]),
            ({ADMIN: HEALTHY, "localhost:8080": UNHEALTHY}, ["NotReady", "Ready"]),
            ({ADMIN: UNHEALTHY, "localhost:8080": HEALTHY}, ["NotReady", "NotReady"]),
            ({ADMIN: HEALTHY, "localhost:8080": HEALTHY}, ["Ready", "Ready"]),
        ):

            async def arrived(report=report, expected=expected):
                # Envoy repeats its report; one that comes while the last is still being taken in may not count.
                await prober.report(report)
                return await states(stack) == expected

            await eventually(arrived)


async def test_a_health_stream_needs_the_proxys_token(stack):
    """Else anybody could take a service out."""
    await stack.apply(**probed())

    async with Prober(stack, described(), await stack.token("other")).connected() as prober:
        status, said = await prober.refusal()

    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert "proxy name from requestor: web-1 is different than in token: other" in said

"""A small mesh of four proxies, for the figures of insights."""

from kuma.core.resources.dataplane import DEFINITION
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight
from tests.unit.core.resources.documents import resource


def proxy(name, **networking):
    """A proxy with this networking section."""
    return resource(DEFINITION, "Dataplane", {"networking": {"address": "10.0.0.1", **networking}}, name=name)


def inbound(service, zone="east", **fields):
    """An inbound of a service."""
    return {"port": 80, "tags": {"kuma.io/service": service, "kuma.io/zone": zone}, **fields}


def connected(*, backend="", version="2.14.3"):
    """The insight of a proxy whose stream is open."""
    return DataplaneInsight.model_validate(
        {
            "subscriptions": [
                {
                    "connectTime": "2026-01-31T12:00:00Z",
                    "version": {"kumaDp": {"version": version}, "envoy": {"version": "1.40.0"}},
                }
            ],
            **({"mTLS": {"issuedBackend": backend, "supportedBackends": ["ca-1", "ca-2"]}} if backend else {}),
        }
    )


DOWN = {"health": {"ready": False}}
FLEET = [
    proxy("web-1", inbound=[inbound("web")]),
    proxy("web-2", inbound=[inbound("web", "west"), inbound("web", port=81), inbound("api", port=82, **DOWN)]),
    proxy("web-3", inbound=[inbound("web")]),
    proxy("edge", gateway={"tags": {"kuma.io/service": "edge"}}),
]
INSIGHTS = {
    "web-1": connected(backend="ca-1"),
    "web-2": connected(backend="ca-1", version=""),
    "edge": connected(),
    "gone": connected(),
}

"""No traffic of the mesh reaches the control plane's API as a caller from its own host."""

import pytest

from kuma.cp.resources import Resources
from kuma.cp.store.memory import MemoryStore
from tests.unit.cp.resources.user import NOW, User, dataplane, mesh, told

PORT = 5681


@pytest.fixture
async def user():
    """Somebody who may write everything, where localhost is admin on one port."""
    store = MemoryStore()
    made = User(store, Resources(store, lambda: NOW, admin_ports=frozenset({PORT})))
    await made.put(mesh())
    return made


def proxy(address="10.0.0.1", **inbound):
    """A proxy with one inbound."""
    made = dataplane("web-1", {"port": 80, "tags": {"kuma.io/service": "web"}, **inbound})
    made["networking"]["address"] = address
    return made


def logging(part, backend):
    """An access log of everything."""
    item = {"default": {"backends": [backend]}} | ({"targetRef": {"kind": "Mesh"}} if part != "rules" else {})
    spec = {"targetRef": {"kind": "Mesh", "proxyTypes": ["Sidecar"]}, part: [item]}
    return {"type": "MeshAccessLog", "mesh": "default", "name": "log", "spec": spec}


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_an_inbound_does_not_lead_to_the_api(user, address):
    """Whoever calls the proxy from elsewhere would be the administrator."""
    error = await user.refused(proxy(serviceAddress=address, servicePort=PORT))

    [(field, reason)] = told(error)
    assert field == "networking.inbound[0].servicePort"
    assert "KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN=false" in reason


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost", "127.1", "rebound.example"])
async def test_no_endpoint_of_a_service_is_the_api(user, address):
    """A proxy on the host would call it there; what a name stands for may change."""
    [(field, _)] = told(await user.refused(proxy(address, port=PORT, serviceAddress="10.0.0.1", servicePort=80)))

    assert field == "networking.inbound[0].port"


async def test_what_is_elsewhere_is_nobodys_business(user):
    """The same port of other addresses, and other ports of loopback."""
    for harmless in (
        proxy(serviceAddress="10.0.0.1", servicePort=PORT),
        proxy(port=PORT),
        proxy("127.0.0.1", port=80, serviceAddress="127.0.0.1", servicePort=8080),
    ):
        await user.put(harmless)

    await User(user.store, Resources(user.store, lambda: NOW)).put(proxy(serviceAddress="127.0.0.1", servicePort=PORT))


@pytest.mark.parametrize("part", ["to", "from", "rules"])
@pytest.mark.parametrize(
    "backend, field",
    [
        ({"type": "Tcp", "tcp": {"address": "127.0.0.1:5681"}}, "tcp.address"),
        ({"type": "Tcp", "tcp": {"address": "localhost:5681"}}, "tcp.address"),
        ({"type": "OpenTelemetry", "openTelemetry": {"endpoint": "[::1]:5681"}}, "openTelemetry.endpoint"),
    ],
)
async def test_no_log_line_is_a_request(user, part, backend, field):
    """A line may look like one, and kuma-dp would send it from the same host."""
    [(path, _)] = told(await user.refused(logging(part, backend)))

    assert path == f"spec.{part}[0].default.backends[0].{field}"


async def test_log_lines_may_go_to_other_places(user):
    """On loopback, too."""
    await user.put(logging("to", {"type": "Tcp", "tcp": {"address": "127.0.0.1:9000"}}))
    await user.put(logging("to", {"type": "Tcp", "tcp": {"address": "10.0.0.9:5681"}}))

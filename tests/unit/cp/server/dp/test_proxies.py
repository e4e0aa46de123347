import pytest

from kuma.core.xds.node import ProxyNode
from kuma.cp.server.dp.proxies import admin_view
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Node


def node(**metadata):
    """A proxy with this metadata; underscores stand for dots."""
    made = Node(id="default.web")
    made.metadata.update({f"dataplane.{name.replace('_', '.')}": value for name, value in metadata.items()})
    return ProxyNode.parse(made)


def test_a_proxy_without_an_admin_port_has_no_admin_interface():
    """Nor has one whose readiness nobody reports."""
    assert admin_view(node(), b"") is None
    assert admin_view(node(admin_port="0", readinessReporter_port="9902"), b"") is None
    assert admin_view(node(admin_port="9901"), b"") is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.1", "10.0.0.1")],
)
def test_an_interface_that_listens_everywhere_is_reached_on_loopback(written, expected):
    """On its own host, where Envoy calls itself."""
    view = admin_view(node(admin_port="9901", readinessReporter_port="9902", admin_address=written), b"ca")

    assert (view.admin_address, view.port, view.readiness_port, view.trusted_ca) == (expected, 9901, 9902, b"ca")

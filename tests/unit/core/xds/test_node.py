from __future__ import annotations

import pytest
from google.protobuf.json_format import ParseDict

from kuma.core.errors import BadRequest
from kuma.core.xds.node import ProxyNode, ProxyType, node_id, split_id
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Node


def _node(id="default.web-1", extensions=(), **metadata):
    keys = {key.replace("__", "."): value for key, value in metadata.items()}
    return ParseDict({"id": id, "metadata": keys, "extensions": [{"name": name} for name in extensions]}, Node())


def test_a_bare_node_is_a_plain_proxy():
    """Nothing but the id is needed; what is absent has its documented meaning."""
    parsed = ProxyNode.parse(_node())

    assert parsed.proxy_type is ProxyType.DATAPLANE
    assert (parsed.resource, parsed.workdir, parsed.admin_port, parsed.readiness_port) == ("", "", None, None)
    assert parsed.ipv6
    assert parsed.transparent_proxy is None
    assert parsed.features == parsed.extensions == frozenset()


def test_ipv6_can_be_off():
    """A machine without IPv6 says so."""
    assert not ProxyNode.parse(_node(ipv6Enabled=False)).ipv6


def test_names_may_contain_dots_and_meshes_not():
    """On Kubernetes a proxy is called ``<pod>.<namespace>``."""
    parsed = ProxyNode.parse(_node("default.web-1.shop"))

    assert (parsed.mesh, parsed.name) == ("default", "web-1.shop")
    assert node_id(parsed.mesh, parsed.name) == "default.web-1.shop"


def test_zone_proxies_have_no_mesh():
    """Their id starts with the dot."""
    parsed = ProxyNode.parse(_node(".egress-1", dataplane__proxyType="egress"))

    assert (parsed.mesh, parsed.name) == ("", "egress-1")


@pytest.mark.parametrize("id", ["", "web-1", "default.", ".web-1", "a" * 400 + ".b", "default.x\n"])
def test_other_ids_are_refused(id):
    """An id that names no dataplane is refused with the form it should have."""
    with pytest.raises(BadRequest, match=r"<mesh>\.<name>"):
        split_id(id, ProxyType.DATAPLANE)


def test_transparent_proxy_and_extensions_are_read():
    """What decides about listeners and filters is here."""
    parsed = ProxyNode.parse(
        _node(
            extensions=["envoy.filters.network.kafka_broker", "envoy.filters.http.router"],
            transparentProxy={"ipFamilyMode": "dualstack", "redirect": {"inbound": {"port": 15006}}},
            features=["feature-reuse-port"],
        )
    )

    assert "envoy.filters.network.kafka_broker" in parsed.extensions
    assert parsed.transparent_proxy is not None
    assert parsed.transparent_proxy["redirect"] == {"inbound": {"port": 15006}}


def test_proxies_of_one_build_share_their_extension_list():
    """Five hundred names per proxy would be most of what a proxy costs."""
    one = ProxyNode.parse(_node(extensions=["a", "b"]))
    two = ProxyNode.parse(_node("default.web-2", extensions=["a", "b"]))

    assert one.extensions is two.extensions


@pytest.mark.parametrize("port", ["9901", 9901])
def test_ports_are_texts_or_numbers(port):
    """Kuma writes texts; a number means the same."""
    assert ProxyNode.parse(_node(dataplane__admin__port=port)).admin_port == 9901


@pytest.mark.parametrize(
    "metadata",
    [
        {"dataplane__admin__port": "http"},
        {"dataplane__admin__port": "65536"},
        {"dataplane__admin__port": -1},
        {"dataplane__admin__port": "\u0669"},
        {"dataplane__readinessReporter__port": [1]},
        {"features": "all"},
        {"features": [1]},
        {"dataplane__resource": {"type": "Dataplane"}},
        {"dataplane__proxyType": "router"},
        {"ipv6Enabled": "maybe"},
        {"transparentProxy": "on"},
        {"version": 2},
    ],
)
def test_values_without_sense_are_refused_by_name(metadata):
    """The refusal names the metadata key."""
    (key,) = metadata
    with pytest.raises(BadRequest, match=key.replace("__", ".").replace(".", r"\.")):
        ProxyNode.parse(_node(**metadata))

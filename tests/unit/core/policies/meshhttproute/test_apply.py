from dataclasses import replace

import pytest

from kuma.core.policies._kit.rules import Merged, Towards
from kuma.core.policies.meshhttproute.apply import outbound
from kuma.core.policies.meshhttproute.spec import Conf
from kuma.core.xds.view import Backend

OTHER = (("kuma.io/service", "other"),)


def towards(*rules):
    """What a policy says about the service ``backend``."""
    return Towards({"backend": Merged(Conf.model_validate({"rules": rules}, strict=False), ())}, spoken=True)


def rule(path="/a", **default):
    """A rule for the paths below one."""
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "default": default}


def leads_to(*names):
    """The conf of a rule with these backends."""
    return {"backendRefs": [{"kind": "MeshService", "name": name} for name in names]}


@pytest.fixture
def draft(drafts):
    """An outbound whose traffic may also be led to ``other``."""

    def make(protocol, other="http"):
        made = drafts.outbound(protocol)
        made.view = replace(made.view, backends=(Backend(OTHER, other, tls=False),))
        return made

    return make


@pytest.mark.parametrize("rules", [Towards({}), Towards({}, spoken=True), towards()], ids=["none", "others", "empty"])
@pytest.mark.parametrize("protocol", ["http", "tcp"])
def test_an_outbound_without_rules_is_left_as_it_is(draft, protocol, rules):
    """Also for the policies that come after."""
    one, untouched = draft(protocol), draft(protocol)
    outbound(one, rules)

    assert (one.chain.http, one.chain.tcp) == (untouched.chain.http, untouched.chain.tcp)
    assert not one.routed
    assert len(one.clusters) == 1


@pytest.mark.parametrize("protocol", ["http", "http2", "grpc", "tcp", "kafka"])
def test_envoy_takes_routes_whatever_the_service_speaks(draft, envoy, protocol):
    """Rules make HTTP of every service."""
    one = draft(protocol, other=protocol)
    outbound(one, towards(rule("/a", **leads_to("other")), rule("/b", **leads_to("backend", "other"))))

    assert one.routed
    assert one.chain.tcp is None
    assert [route.match.path or route.match.prefix for route in one.chain.routes()] == ["/a", "/a/", "/b", "/b/", "/"]
    assert envoy.accepts(one)


def test_a_cluster_that_two_rules_lead_to_is_there_once(draft):
    """Shares of it are told apart by routes, not by clusters."""
    one = draft("http")
    outbound(one, towards(rule("/a", **leads_to("other")), rule("/b", **leads_to("other"))))

    assert [cluster.cluster.name for cluster in one.clusters] == ["backend", "other"]


@pytest.mark.parametrize(
    ("other", "expected"),
    [("tcp", "use_downstream_protocol_config"), ("kafka", "use_downstream_protocol_config")]
    + [(protocol, "explicit_http_config") for protocol in ("http", "http2", "grpc")],
)
def test_the_version_of_http_between_proxies(draft, other, expected):
    """HTTP/2, but that of the caller where the proxy behind hands on bytes to who knows which application."""
    one = draft("http", other)
    outbound(one, towards(rule("/a", **leads_to("other"))))

    assert one.clusters[1].http.WhichOneof("upstream_protocol_options") == expected

from dataclasses import replace

import pytest

from kuma.core.policies._kit.rules import Merged, Towards
from kuma.core.policies.meshtcproute.apply import outbound
from kuma.core.policies.meshtcproute.spec import Conf
from kuma.core.xds.view import Backend

OTHER = (("kuma.io/service", "other"),)


def towards(*backends):
    """What a policy says about the service ``backend``: names with weights."""
    refs = [{"kind": "MeshService", "name": name, "weight": weight} for name, weight in backends]
    return Towards({"backend": Merged(Conf.model_validate({"backendRefs": refs}, strict=False), ())}, spoken=True)


@pytest.fixture
def draft(drafts):
    """An outbound whose traffic may also be led to ``other``."""

    def make(protocol):
        made = drafts.outbound(protocol)
        made.view = replace(made.view, backends=(Backend(OTHER, protocol, tls=False),))
        return made

    return make


@pytest.mark.parametrize("protocol", ["http", "http2", "grpc", "tcp", "kafka"])
def test_envoy_takes_shares_of_connections_whatever_the_service_speaks(draft, envoy, protocol):
    """A service that speaks HTTP is taken over as a whole."""
    one = draft(protocol)
    outbound(one, towards(("backend", 3), ("other", 1)))

    shares = one.chain.tcp.weighted_clusters.clusters
    assert one.chain.http is None
    assert [(share.name, share.weight) for share in shares] == [("backend", 3), ("other", 1)]
    assert envoy.accepts(one)


@pytest.mark.parametrize("protocol", ["http", "tcp"])
def test_rules_for_requests_come_before_those_for_connections(draft, protocol):
    """Where MeshHTTPRoute has spoken, nothing changes."""
    one, untouched = draft(protocol), draft(protocol)
    one.routed = True
    outbound(one, towards(("other", 1)))

    assert (one.chain.http, one.chain.tcp) == (untouched.chain.http, untouched.chain.tcp)
    assert len(one.clusters) == 1


def test_an_outbound_without_a_rule_is_left_as_it_is(draft):
    """Rules for other services do not count, nor does an entry without a rule."""
    one, untouched = draft("tcp"), draft("tcp")
    outbound(one, Towards({}, spoken=True))
    outbound(one, Towards({"backend": Merged(Conf(), ())}, spoken=True))

    assert one.chain.tcp == untouched.chain.tcp


def test_without_a_backend_that_counts_connections_lead_nowhere(draft, envoy):
    """They are closed; Envoy takes the configuration although the cluster does not exist."""
    one = draft("tcp")
    outbound(one, towards(("other", 0)))

    assert one.chain.tcp.cluster == "kuma:no-backend"
    assert len(one.clusters) == 1
    assert envoy.accepts(one)

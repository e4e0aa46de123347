from hypothesis import given
from hypothesis import strategies as st

from kuma.core.xds.names import CLUSTER, SECRET
from kuma.core.xds.resources import XdsResource
from kuma.core.xds.wire import Wire, set_version
from kuma.envoy_api.envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, DiscoveryResponse

A, B = XdsResource(CLUSTER, "a", b"1"), XdsResource(CLUSTER, "b", b"2")
RESOURCES = st.lists(
    st.builds(XdsResource, st.just(CLUSTER), st.text(max_size=5), st.binary(max_size=300)), max_size=4
).map(tuple)


@given(RESOURCES, st.lists(st.text(max_size=5)).map(tuple))
def test_a_delta_response_reads_as_written(changed, removed):
    """The joined frames are the message that protobuf would have written."""
    nonce, _, message = Wire("cp").delta(CLUSTER, changed, removed)

    response = DeltaDiscoveryResponse.FromString(message)
    assert (response.type_url, response.nonce, tuple(response.removed_resources)) == (CLUSTER, nonce, removed)
    assert [(x.name, x.version, x.resource.type_url, x.resource.value) for x in response.resources] == [
        (x.name, x.version, CLUSTER, x.body) for x in changed
    ]


@given(RESOURCES)
def test_a_whole_response_reads_as_written(resources):
    """The same for the state of the world."""
    nonce, version, message = Wire("cp").sotw(CLUSTER, resources)

    response = DiscoveryResponse.FromString(message)
    assert (response.nonce, response.version_info, response.control_plane.identifier) == (nonce, version, "cp")
    assert version == set_version(resources)
    assert [(x.type_url, x.value) for x in response.resources] == [(CLUSTER, x.body) for x in resources]


def test_what_is_asked_for_again_is_encoded_once():
    """The very same bytes from the second time on, until the stream was sent them last."""
    wire = Wire("cp")
    wire.delta(CLUSTER, (A, B), ())
    kept = wire.delta(CLUSTER, (A, B), ())

    assert wire.delta(CLUSTER, (A, B), ()) is kept
    assert wire.delta(CLUSTER, (A, B), (), last_nonce=kept.nonce).nonce != kept.nonce


def test_secrets_are_never_shared():
    """Two equal versions may be two private keys."""
    wire = Wire("cp")
    one, other = (XdsResource(SECRET, "identity", key, "v1") for key in (b"one", b"other"))

    assert b"other" in wire.delta(SECRET, (other,), ()).message
    assert b"one" in wire.delta(SECRET, (one,), ()).message
    assert b"other" in wire.sotw(SECRET, (other,)).message
    assert b"one" in wire.sotw(SECRET, (one,)).message


def test_the_version_of_a_set_is_that_of_its_members():
    """Whatever their order; another name, another version."""
    assert set_version([A, B]) == set_version([B, A])
    assert set_version([A]) != set_version([A, B])
    assert set_version([XdsResource(CLUSTER, "ab", b"", "c")]) != set_version([XdsResource(CLUSTER, "a", b"", "bc")])

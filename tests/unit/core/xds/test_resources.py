from hypothesis import given
from hypothesis import strategies as st

from kuma.core.xds.names import CLUSTER, LISTENER
from kuma.core.xds.resources import Desired, Layer, LayerDeltas, XdsResource, varint
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster


@given(st.integers(0, 2**63))
def test_numbers_are_written_as_protobuf_does(value):
    """Seven bits at a time, the lowest first."""
    written = varint(value)

    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(written)) == value
    assert [bool(byte & 0x80) for byte in written] == [True] * (len(written) - 1) + [False]


def test_equal_messages_have_equal_versions():
    """So a restart, or another replica, sends nothing anew."""
    one, other = (XdsResource.of(CLUSTER, "a", Cluster(name="a", alt_stat_name="x")) for _ in range(2))

    assert one == other
    assert hash(one) == hash(other)
    assert one != XdsResource.of(CLUSTER, "a", Cluster(name="a", alt_stat_name="y"))


def test_a_certificate_is_not_shown_by_accident():
    """What is printed in a log or an error is a name and a version."""
    assert "private" not in repr(XdsResource(CLUSTER, "identity", b"private key"))


def test_of_two_resources_of_one_name_the_later_stays():
    """Within a layer; a type without resources is none of its types."""
    made = Layer.of([XdsResource(CLUSTER, "a", b"1"), XdsResource(CLUSTER, "a", b"2")])

    assert made.by_name(CLUSTER)["a"].body == b"2"
    assert list(made.types()) == [CLUSTER]
    assert dict(made.by_name(LISTENER)) == {}


def test_a_desired_state_is_the_sum_of_its_layers():
    """By name, by type, and as names."""
    a, b = XdsResource(CLUSTER, "a", b"1"), XdsResource(CLUSTER, "b", b"2")
    state = Desired((Layer.of([a]), Layer.of([b])), 3)

    assert state.get(CLUSTER, "b") is b
    assert state.get(LISTENER, "b") is None
    assert list(state.of_type(CLUSTER)) == [a, b]
    assert state.names(CLUSTER) == {"a", "b"}


def test_a_difference_between_layers_is_computed_once():
    """For all proxies that move from one to the other; the memory is bounded."""
    deltas = LayerDeltas(capacity=2)
    layers = [Layer.of([XdsResource(CLUSTER, "a", bytes([n]))]) for n in range(4)]
    first = deltas.between(layers[0], layers[1], CLUSTER)
    assert deltas.between(layers[0], layers[1], CLUSTER) is first

    for one, other in ((0, 2), (0, 3)):
        deltas.between(layers[one], layers[other], CLUSTER)

    again = deltas.between(layers[0], layers[1], CLUSTER)
    assert again == first
    assert again is not first

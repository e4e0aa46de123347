from hypothesis import given
from hypothesis import strategies as st

from kuma.core.xds.endpoints import assignment, endpoint
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

ENDPOINTS = st.lists(
    st.tuples(
        st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]), st.integers(1, 65535), st.sampled_from(["", "a", "b"])
    ),
    max_size=6,
)


@given(ENDPOINTS)
def test_joined_frames_are_an_assignment(written):
    """Grouped by zone in the order of names, each endpoint whole and in the order given."""
    ordered = sorted(written)
    made = ClusterLoadAssignment.FromString(
        assignment(
            "web",
            [
                endpoint(address, port, {"kuma.io/service": "web", **({"kuma.io/zone": zone} if zone else {})}, {})
                for address, port, zone in ordered
            ],
        ).body
    )

    assert made.cluster_name == "web"
    assert [one.locality.zone for one in made.endpoints] == sorted({zone for _, _, zone in ordered})
    found = [
        (
            one.endpoint.address.socket_address.address,
            one.endpoint.address.socket_address.port_value,
            locality.locality.zone,
        )
        for locality in made.endpoints
        for one in locality.lb_endpoints
    ]
    assert found == sorted(ordered, key=lambda one: one[2])
    assert all(one.load_balancing_weight.value == 1 for locality in made.endpoints for one in locality.lb_endpoints)


def test_metadata_of_an_endpoint():
    """Tags but the service, for subsets and TLS matches; labels apart."""
    one = endpoint("10.0.0.1", 80, {"kuma.io/service": "web", "version": "v1"}, {"app": "web"})
    made = ClusterLoadAssignment.FromString(assignment("web", [one]).body).endpoints[0].lb_endpoints[0]

    assert {name: dict(values) for name, values in made.metadata.filter_metadata.items()} == {
        "envoy.lb": {"version": "v1"},
        "envoy.transport_socket_match": {"version": "v1"},
        "io.kuma.labels": {"app": "web"},
    }

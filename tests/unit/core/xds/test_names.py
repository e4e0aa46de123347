import pytest

from kuma.core.xds import names


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.0.0.1", "inbound:10.0.0.1:80"), ("fd00::1", "inbound:[fd00::1]:80"), ("::", "inbound:[::]:80")],
)
def test_addresses_in_names(address, expected):
    """IPv6 addresses are bracketed."""
    assert names.inbound_listener(address, 80) == expected
    assert names.outbound_listener(address, 80) == expected.replace("in", "out", 1)


def test_a_cluster_is_called_like_its_service():
    """Dashboards know services by name."""
    assert names.outbound_cluster((("kuma.io/service", "backend"),)) == "backend"


def test_a_subset_has_a_name_of_its_own():
    """The hash is over the sorted tags, so the order written does not matter (sha256, first eight bytes)."""
    one = names.outbound_cluster((("kuma.io/service", "backend"), ("version", "v1")))
    other = names.outbound_cluster((("version", "v1"), ("kuma.io/service", "backend")))

    assert one == other == "backend-154693772bc47249"


def test_the_server_name_tells_the_mesh_and_further_tags():
    """Tags are sorted, the mesh among them."""
    assert names.sni((("kuma.io/service", "b"),), "m") == "b{mesh=m}"
    assert names.sni((("kuma.io/service", "b"), ("version", "1"), ("a", "2")), "m") == "b{a=2,mesh=m,version=1}"


def test_a_server_name_fits_into_a_handshake():
    """TLS has room for 255 bytes: a longer name is cut, and still tells its destination from others."""
    long = [names.sni((("kuma.io/service", "b"), ("version", "v" * 300 + end)), "m") for end in ("1", "2")]

    assert [len(name) for name in long] == [255, 255]
    assert long[0] != long[1]
    assert all(name.startswith("b{mesh=m,version=vvv") for name in long)


def test_what_may_stand_in_a_statistic():
    """Everything but letters, digits, dash and underscore becomes an underscore."""
    assert names.sanitized("localhost:8080/a.b-c_d") == "localhost_8080_a_b-c_d"

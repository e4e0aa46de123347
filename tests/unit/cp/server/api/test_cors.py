import pytest

from kuma.cp.server.api.cors import Cors


@pytest.mark.parametrize(
    "domains, origin, allowed",
    [
        ((), "https://a.example", False),
        (("https://a.example",), "https://A.example", True),
        (("https://a.example",), "https://a.example.evil", False),
        ((r".*\.example",), "https://b.example", True),
        ((r".*\.example",), "https://b.example.evil", False),
        (("*",), "https://anything", True),
        (("[",), "[", True),
        ((".*",), "x" * 10_000, False),
        ((".*",), None, False),
    ],
)
def test_an_origin_is_allowed_by_name_or_whole_pattern(domains, origin, allowed):
    """A pattern that cannot be read is a name."""
    assert Cors(domains).allows(origin) is allowed


def test_caches_are_told_that_origins_matter():
    """Also where the origin is not allowed, or none was given."""
    assert Cors(("https://a.example",)).headers(None) == {"vary": "origin"}
    assert Cors(()).headers("https://a.example") == {}

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.errors import BadRequest
from kuma.cp.server.api.routing import Route, Router, parameters, segments_of


async def nothing(_):
    """Routes are compared, not called."""


def route(method, path):
    """A route without anything behind it."""
    return Route(method, path, nothing, "")


def found(router, path):
    """Path and parameters of the GET route that a path leads to."""
    at = router.find(segments_of(path.encode()))
    return at and (at.routes["GET"].path, parameters(at.routes["GET"], at.values))


ROUTER = Router(
    route("GET", path)
    for path in (
        "/",
        "/meshes",
        "/meshes/{name}",
        "/meshes/{mesh}/dps/_overview",
        "/meshes/{mesh}/dps/{name}",
        "/a/{x}/b",
    )
)


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/", ("/", {})),
        ("/meshes/", ("/meshes", {})),
        ("/meshes/m", ("/meshes/{name}", {"name": "m"})),
        ("/meshes/m/dps/_overview", ("/meshes/{mesh}/dps/_overview", {"mesh": "m"})),
        ("/meshes/m/dps/d", ("/meshes/{mesh}/dps/{name}", {"mesh": "m", "name": "d"})),
        ("/meshes/m%2Fn", ("/meshes/{name}", {"name": "m/n"})),
        ("http://host:1/meshes/m", ("/meshes/{name}", {"name": "m"})),
        ("/meshes/m/dps", None),
        ("//meshes", None),
        ("/meshes//dps/d", None),
        ("/a/meshes", None),
    ],
)
def test_words_win_over_parameters(path, expected):
    """A slash at the end is ignored, an encoded one is no separator, an empty part is no name."""
    assert found(ROUTER, path) == expected


def test_two_routes_for_one_path_are_a_mistake():
    """It is found at the start, not by a user."""
    with pytest.raises(ValueError, match=r"two routes for GET /x/\{b\}"):
        Router([route("GET", "/x/{a}"), route("GET", "/x/{b}")])


@given(st.binary(max_size=30))
def test_any_bytes_are_a_path_or_refused(path):
    """Nothing else can happen."""
    with suppress(BadRequest):
        ROUTER.find(segments_of(b"/" + path))

"""Labels: written, computed and fixed ones."""

import pytest

from kuma.core.model.kinds import BY_NAME
from kuma.cp.resources.labels import changed, compute, validate

TIMEOUT, MESH, GLOBAL_SECRET = BY_NAME["MeshTimeout"], BY_NAME["Mesh"], BY_NAME["GlobalSecret"]
HOME = {"kuma.io/env": "universal", "kuma.io/origin": "zone", "kuma.io/zone": "east"}


def faults(kind, **written):
    """Labels that are refused, with the reason; written with ``_`` for ``kuma.io/``."""
    found = validate(kind, "m", "east", {f"kuma.io/{label}": value for label, value in written.items()})
    return [
        (violation.field.removeprefix('labels["kuma.io/').removesuffix('"]'), violation.reason) for violation in found
    ]


@pytest.mark.parametrize(
    "kind, written, expected",
    [
        (TIMEOUT, {}, HOME | {"kuma.io/mesh": "m"}),
        (TIMEOUT, {"team": "a"}, HOME | {"kuma.io/mesh": "m", "team": "a"}),
        (TIMEOUT, {"kuma.io/env": "kubernetes"}, HOME | {"kuma.io/mesh": "m", "kuma.io/env": "kubernetes"}),
        (TIMEOUT, {"kuma.io/origin": "global"}, {"kuma.io/mesh": "m", "kuma.io/origin": "global"}),
        (GLOBAL_SECRET, {}, HOME),
        (MESH, {}, {}),
        (MESH, {"team": "a"}, {"team": "a"}),
    ],
)
def test_labels_follow_from_where_a_resource_is(kind, written, expected):
    """Only absent ones are computed, and none for a mesh."""
    assert compute(kind, "m", "east", "universal", written) == expected


def test_a_resource_of_this_zone_says_so_or_nothing():
    """Zone, mesh and origin may be repeated, not contradicted."""
    assert faults(TIMEOUT, origin="zone", zone="east", mesh="m") == []
    assert faults(TIMEOUT, origin="elsewhere", zone="west", mesh="x") == [
        ("origin", 'must be either "global" or "zone"'),
        ("zone", "kuma.io/zone label should have east value"),
        ("mesh", "kuma.io/mesh label must not differ from mesh set on resource"),
    ]


def test_a_resource_of_the_global_control_plane_may_name_another_place():
    """It was written for all zones."""
    assert faults(TIMEOUT, origin="global", zone="west", mesh="x") == []


def test_a_global_kind_may_name_any_mesh():
    """It is in none."""
    assert faults(GLOBAL_SECRET, mesh="x") == []


def test_only_labels_that_were_there_are_fixed():
    """A resource that the control plane made without labels gets them by the first write."""
    assert list(changed({}, HOME)) == []
    assert list(changed(HOME | {"team": "a"}, HOME | {"team": "b"})) == []

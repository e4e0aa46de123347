"""Tests of ``kuma.core.errors``."""

import pytest

from kuma.core import errors
from kuma.core.errors import InvalidResource, MeshError, Violation


@pytest.mark.parametrize(
    "field, prefix, path",
    [
        ("kind", "spec.targetRef", "spec.targetRef.kind"),
        ("[0].default", "spec.to", "spec.to[0].default"),
        ("", "spec.to", "spec.to"),
        ("name", "", "name"),
    ],
)
def test_a_path_is_seen_from_its_parent(field, prefix, path):
    """A field path reads as the user would write it, also where lists are in between."""
    assert Violation(field, "r").under(prefix) == Violation(path, "r")


def test_all_broken_rules_are_in_the_text():
    """One message tells everything that has to be mended."""
    error = InvalidResource([Violation("a", "must be set"), Violation("b[0]", "must not be set")])
    assert str(error) == "a: must be set; b[0]: must not be set"
    assert len(error.violations) == 2


def test_every_deliberate_error_can_be_caught_as_one():
    """An edge that catches MeshError misses none."""
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert len(classes) > 10
    assert all(issubclass(one, MeshError) for one in classes)
    assert issubclass(errors.SigningKeyNotFound, errors.NotFound)

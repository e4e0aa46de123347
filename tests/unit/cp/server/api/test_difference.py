import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from kuma.cp.server.api.difference import difference

VALUES = st.recursive(
    st.none() | st.integers(-3, 3) | st.text("ab/~", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=3), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text("ab/~", max_size=3), VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
def test_applied_to_the_old_it_gives_the_new(before, after):
    """Whatever the two are."""
    assert jsonpatch.apply_patch(before, list(difference(before, after))) == after


@given(OBJECTS)
def test_equal_values_have_no_difference(value):
    """Nothing to do."""
    assert list(difference(value, value)) == []


def test_a_changed_value_is_tested_removed_and_added():
    """A reader sees what was there and what is there now."""
    assert list(difference({"a": {"b/c": 1}}, {"a": {"b/c": 2}})) == [
        {"op": "test", "path": "/a/b~1c", "value": 1},
        {"op": "remove", "path": "/a/b~1c", "value": 1},
        {"op": "add", "path": "/a/b~1c", "value": 2},
    ]


def test_true_and_one_differ():
    """They are equal in Python only."""
    assert list(difference({"a": True}, {"a": 1})) != []

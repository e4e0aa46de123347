import pytest

from kuma.core.xds.json_patch import JsonPatchFailed, patched_json


def test_the_document_given_is_not_changed():
    """Documents may be shared."""
    given = {"a": {"b": [1]}}

    assert patched_json(given, [{"op": "add", "path": "/a/b/-", "value": 2}]) == {"a": {"b": [1, 2]}}
    assert given == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b", {"a": {"b": 1}}),
        ("/a/0", {"a": [1]}),
        ("/a/-", {"a": [1]}),
        ("/a~1b", {"a/b": 1}),
    ],
)
def test_parents_are_made_where_they_are_missing(path, expected):
    """Envoy's JSON form leaves out what is empty, so users cannot know what is there."""
    assert patched_json({}, [{"op": "add", "path": path, "value": 1}]) == expected


def test_items_of_lists_are_not_invented():
    """What would stand in the middle of a list nobody can guess."""
    with pytest.raises(JsonPatchFailed, match=r"jsonPatches\[0\] \(add /a/0/b\)"):
        patched_json({}, [{"op": "add", "path": "/a/0/b", "value": 1}])


def test_what_is_absent_can_be_removed():
    """The result is the same."""
    assert patched_json({"a": 1}, [{"op": "remove", "path": "/b/c"}, {"op": "remove", "path": "/a"}]) == {}


def test_a_document_cannot_be_blown_up():
    """Copying a document into itself again and again ends with an error, soon."""
    steps = [{"op": "copy", "from": "", "path": f"/x{number}"} for number in range(60)]
    with pytest.raises(JsonPatchFailed, match="more than 100000 values"):
        patched_json({"a": [1, 2, 3]}, steps)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"op": "replace", "path": "/no/x", "value": 1}, "(replace /no/x): member 'no' not found"),
        ({"op": "replace", "path": "/no", "value": 1}, "(replace /no): can't replace a non-existent object 'no'"),
        ({"op": "replace", "path": "/list/7", "value": 1}, "(replace /list/7): can't replace outside of list"),
        ({"op": "add", "path": "/name/x", "value": 1}, "(add /name/x): a value on the way has no members"),
        ({"op": "add", "path": "/name/x/y", "value": 1}, "(add /name/x/y): a value on the way has no members"),
        ({"op": "move", "from": "/no", "path": "/b"}, "(move /no to /b): member 'no' not found"),
        ({"op": "copy", "from": "/no/a", "path": "/b"}, "(copy /no/a to /b): member 'no' not found"),
    ],
)
def test_what_cannot_be_done_is_told_in_few_words(operation, words):
    """The step and the reason, not the whole document, which may be long and hold what is nobody's business."""
    with pytest.raises(JsonPatchFailed) as failed:
        patched_json({"name": "a", "list": [1, 2]}, [operation])

    assert str(failed.value) == f"jsonPatches[0] {words}"

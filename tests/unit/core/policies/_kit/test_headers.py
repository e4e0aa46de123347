import json

import pytest

from kuma.core.policies._kit.headers import (
    MAX_VALUES,
    HeaderChanges,
    HeaderMatch,
    header_changes_violations,
    header_match_violations,
    header_matcher,
    header_options,
    removed_name_violations,
)
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import HeaderValueOption


def _changes(**lists):
    return HeaderChanges.model_validate_json(json.dumps(lists))


def _match(**fields):
    return HeaderMatch.model_validate_json(json.dumps({"name": "a", **fields}))


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (_match(value="1"), {"string_match": {"exact": "1"}}),
        (_match(), {"string_match": {"exact": ""}}),
        (_match(type="Prefix", value="p"), {"string_match": {"prefix": "p"}}),
        (_match(type="Prefix"), {"present_match": True}),
        (_match(type="Present"), {"present_match": True}),
        (_match(type="Absent"), {"present_match": False}),
    ],
)
def test_a_condition_has_envoys_form(match, expected):
    """A prefix of nothing asks for no more than that the header is there."""
    found = header_matcher(match)
    made = type(found)(name="a")
    for name, value in expected.items():
        if name == "present_match":
            made.present_match = value
        else:
            [(kind, text)] = value.items()
            setattr(made.string_match, kind, text)

    assert found == made


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (_match(type="RegularExpression", value="x.*"), []),
        (_match(type="RegularExpression"), [("m.value", "must be defined")]),
        (_match(type="Present", value="x"), [("m.value", "must not be defined")]),
        (_match(type="Absent", value="x"), [("m.value", "must not be defined")]),
        (_match(type="Absent"), []),
    ],
)
def test_a_condition_has_a_value_where_one_is_needed(match, expected):
    """Presence needs none, an expression must be one."""
    assert [(found.field, found.reason) for found in header_match_violations(match, "m")] == expected


def test_commas_part_the_values_of_a_header():
    """The first value that is set replaces what is there; every other value is one more."""
    found = header_options(
        _changes(set=[{"name": "a", "value": "1,2"}], add=[{"name": "a", "value": "3"}, {"name": "b", "value": ""}])
    )

    assert [(one.header.key, one.header.value, one.append_action) for one in found] == [
        ("a", "1", HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD),
        ("a", "2", HeaderValueOption.APPEND_IF_EXISTS_OR_ADD),
        ("a", "3", HeaderValueOption.APPEND_IF_EXISTS_OR_ADD),
        ("b", "", HeaderValueOption.APPEND_IF_EXISTS_OR_ADD),
    ]


def test_changes_that_envoy_refuses_are_refused():
    """One bad header would stop every later change of a proxy."""
    found = header_changes_violations(
        _changes(set=[{"name": "host", "value": "x\r"}], add=[{"name": "a", "value": "," * MAX_VALUES}]), "h"
    )

    assert [violation.field for violation in found] == ["h.set[0].name", "h.set[0].value", "h.add"]


@pytest.mark.parametrize(
    ("name", "accepted"), [("x-a", True), ("X-A", True), ("HOST", False), (":path", False), ("", False)]
)
def test_some_headers_cannot_be_taken_away(name, accepted):
    """Envoy keeps the host header and those of the protocol."""
    assert (not list(removed_name_violations(name, "f"))) == accepted

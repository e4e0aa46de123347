from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from kuma.core.model.spec import LegacyDuration, LegacySpec, violations
from kuma.core.resources._wire import (
    MAX_STRUCT_DEPTH,
    Flag,
    Number,
    Octets,
    Struct,
    Timestamp,
    UInt32,
    UInt64,
    WireEnum,
)


class Colour(WireEnum):
    RED = "Red"
    GREEN = "Green"


class Sample(LegacySpec):
    small: UInt32 = 0
    big: UInt64 = 0
    flag: Flag = False
    maybe: Flag | None = None
    number: Number | None = None
    octets: Octets = b""
    time: Timestamp | None = None
    struct: Struct | None = None
    colour: Colour = Colour.RED
    wait: LegacyDuration | None = None


@pytest.mark.parametrize(
    "written, printed",
    [
        ({"small": 5}, {"small": 5}),
        ({"small": "5"}, {"small": 5}),
        ({"small": 5.0}, {"small": 5}),
        ({"small": 0}, {}),
        ({"small": None, "colour": None, "struct": None}, {}),
        ({"big": 5}, {"big": "5"}),
        ({"big": "18446744073709551615"}, {"big": "18446744073709551615"}),
        ({"flag": False}, {}),
        ({"maybe": False}, {"maybe": False}),
        ({"number": 100}, {"number": 100}),
        ({"number": "12.5"}, {"number": 12.5}),
        ({"octets": "aGk="}, {"octets": "aGk="}),
        ({"octets": "_-8"}, {"octets": "/+8="}),
        ({"time": "2026-01-31T12:00:00Z"}, {"time": "2026-01-31T12:00:00Z"}),
        ({"time": "2026-01-31T13:00:00.5+01:00"}, {"time": "2026-01-31T12:00:00.500Z"}),
        ({"time": "2026-01-31T12:00:00.123456789Z"}, {"time": "2026-01-31T12:00:00.123456Z"}),
        ({"struct": {"port": 5670.0, "deep": [{"a": None}]}}, {"struct": {"port": 5670, "deep": [{"a": None}]}}),
        ({"struct": {}}, {"struct": {}}),
        ({"colour": "Green"}, {"colour": "Green"}),
        ({"colour": 1}, {"colour": "Green"}),
        ({"colour": 0}, {}),
        ({"wait": "1h"}, {"wait": "3600s"}),
        ({"wait": "500ms"}, {"wait": "0.500s"}),
    ],
)
def test_values_are_read_and_printed_as_protobuf_does(written, printed):
    """Every spelling that Kuma reads is read, and the answer is spelled as Kuma spells it."""
    assert Sample.model_validate(written).to_json() == printed


@pytest.mark.parametrize(
    "written, field, reason",
    [
        ({"small": 5.5}, "small", "in body must be of type integer"),
        ({"small": True}, "small", "in body must be of type integer"),
        ({"small": "five"}, "small", "in body must be of type integer"),
        ({"small": -1}, "small", "must be in the range [0, 4294967295]"),
        ({"small": 2**32}, "small", "must be in the range [0, 4294967295]"),
        ({"big": "9" * 5000}, "big", "in body must be of type integer"),
        ({"flag": "yes"}, "flag", "in body must be of type boolean"),
        ({"maybe": 1}, "maybe", "in body must be of type boolean"),
        ({"number": "NaN"}, "number", "in body must be of type number"),
        ({"number": float("inf")}, "number", "in body must be of type number"),
        ({"number": True}, "number", "in body must be of type number"),
        ({"octets": "a?b"}, "octets", "must be base64 encoded"),
        ({"octets": "käse"}, "octets", "must be base64 encoded"),
        ({"octets": 7}, "octets", "in body must be of type string"),
        ({"time": "yesterday"}, "time", "must be a time such as 2026-01-31T12:00:00Z"),
        ({"time": "2026-02-30T12:00:00Z"}, "time", "must be a time such as 2026-01-31T12:00:00Z"),
        ({"time": "0001-01-01T00:00:00+23:00"}, "time", "must be a time such as 2026-01-31T12:00:00Z"),
        ({"struct": []}, "struct", "in body must be of type object"),
        ({"struct": {"when": datetime(2026, 1, 1, tzinfo=UTC)}}, "struct", "must consist of JSON values"),
        ({"struct": {1: 2}}, "struct", "must consist of JSON values"),
        ({"struct": {"a": float("nan")}}, "struct", "in body must be of type number"),
        ({"colour": "Blue"}, "colour", "in body should be one of [Red Green]"),
        ({"colour": 2}, "colour", "in body should be one of [Red Green]"),
        ({"wait": "10x"}, "wait", 'time: unknown unit "x" in duration "10x"'),
    ],
)
def test_values_that_protobuf_refuses_are_refused(written, field, reason):
    """A value of the wrong type is named with its field and what was expected."""
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate(written)
    assert [(violation.field, violation.reason) for violation in violations(caught.value)] == [(field, reason)]


def test_a_free_form_object_has_a_depth_limit():
    """Nesting without end is refused, not followed until the stack is full."""
    deep: dict = {}
    for _ in range(10_000):
        deep = {"a": deep}
    with pytest.raises(ValidationError, match=f"deeper than {MAX_STRUCT_DEPTH} levels"):
        Sample.model_validate({"struct": deep})


def test_a_free_form_object_is_a_private_copy():
    """Changing a document after it was read does not change the resource."""
    document = {"struct": {"list": [1]}}
    spec = Sample.model_validate(document)
    document["struct"]["list"].append(2)
    assert spec.to_json() == {"struct": {"list": [1]}}


def test_old_years_are_printed_with_four_digits():
    """A time is valid RFC 3339 whatever the year."""
    assert Sample.model_validate({"time": "0099-01-01T00:00:00Z"}).to_json() == {"time": "0099-01-01T00:00:00Z"}

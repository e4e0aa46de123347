"""What a person writes and what it means, kind by kind."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.cp.config.table import by_env
from kuma.cp.config.values import Unreadable, from_file, from_variable

PORT = by_env()["KUMA_DP_SERVER_PORT"]
FLAG = by_env()["KUMA_STORE_CACHE_ENABLED"]
DELAY = by_env()["KUMA_GENERAL_DNS_CACHE_TTL"]
NAMES = by_env()["KUMA_ACCESS_STATIC_ADMIN_RESOURCES_USERS"]
TEXT = by_env()["KUMA_GENERAL_WORK_DIR"]
KINDS = (PORT, FLAG, DELAY, NAMES, TEXT, by_env()["KUMA_RUNTIME_KUBERNETES_EXCEPTIONS_LABELS"])

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("text", "number"), [("10", 10), ("0x1f", 31), ("0o17", 15), ("017", 15), ("0b11", 3), ("1_000", 1000), ("-5", -5)]
)
def test_numbers_in_variables_are_gos(text: str, number: int):
    """A variable takes a number in every base that Go takes."""
    assert from_variable(PORT, text) == number


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_truth_in_variables_is_gos(text: str):
    """A variable takes every spelling of true that Go takes, and no other."""
    assert from_variable(FLAG, text) is True


@pytest.mark.parametrize("text", [" 1", "1.5", "9" * 30, "٣", "5678\n"])
def test_other_numbers_are_refused(text: str):
    """No spaces, fractions, overflow or foreign digits."""
    with pytest.raises(Unreadable, match="is not a whole number"):
        from_variable(PORT, text)


def test_a_bare_number_is_no_duration_in_a_variable():
    """Nanoseconds are for files; a variable needs its unit."""
    with pytest.raises(Unreadable, match="missing unit"):
        from_variable(DELAY, "10")


def test_long_values_are_cut_in_messages():
    """A message stays readable whatever was pasted."""
    with pytest.raises(Unreadable) as caught:
        from_file(PORT, "x" * 10_000)

    assert len(str(caught.value)) < 200


@given(_json.filter(lambda value: value is not None))
def test_any_document_is_read_or_refused(value: object):
    """No value in a file, however odd, ends in anything but a value or a refusal."""
    for row in KINDS:
        with suppress(Unreadable):
            from_file(row, value)


@given(st.text())
def test_any_variable_is_read_or_refused(text: str):
    """No variable, however odd, ends in anything but a value or a refusal."""
    for row in KINDS:
        with suppress(Unreadable):
            from_variable(row, text)

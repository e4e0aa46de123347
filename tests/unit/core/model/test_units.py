"""Tests of ``kuma.core.units``."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.units import (
    format_duration,
    format_proto_duration,
    is_hostname,
    is_ip,
    one_spelling,
    parse_decimal,
    parse_duration,
)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("0", 0),
        ("-0", 0),
        ("1h30m", 5400),
        ("1h1h", 7200),
        ("0.5s", 0.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("-2ms", -0.002),
        ("+5s", 5),
        ("5us", 0.000005),
        ("5µs", 0.000005),
        ("5μs", 0.000005),
        ("500ns", 0),
    ],
)
def test_go_durations_are_read(text, seconds):
    """Every duration that Go reads is read, to the microsecond."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        (".s", 'time: invalid duration ".s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("1h-5m", 'time: unknown unit "h-" in duration "1h-5m"'),
        ("1h 5m", 'time: unknown unit "h " in duration "1h 5m"'),
        ("10x", 'time: unknown unit "x" in duration "10x"'),
        ("٣s", 'time: invalid duration "٣s"'),
        ("2562048h", 'time: invalid duration "2562048h"'),
        ("9" * 60 + "h", f'time: invalid duration "{"9" * 60}h"'),
        ("1" * 1000, f'time: invalid duration "{"1" * 64}"'),
    ],
)
def test_what_go_refuses_is_refused_in_its_words(text, reason):
    """Days, spaces and signs in the middle are no Go durations; the error says which unit is wrong."""
    with pytest.raises(ValueError, match=r"^time: ") as caught:
        parse_duration(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "seconds, go, proto",
    [
        (0, "0s", "0s"),
        (3600, "1h0m0s", "3600s"),
        (90, "1m30s", "90s"),
        (0.5, "500ms", "0.500s"),
        (-1.5, "-1.5s", "-1.500s"),
        (0.0015, "1.5ms", "0.001500s"),
        (0.000005, "5µs", "0.000005s"),
    ],
)
def test_durations_are_printed_as_go_and_protobuf_do(seconds, go, proto):
    """Both text forms are those that Kuma's clients expect."""
    assert format_duration(timedelta(seconds=seconds)) == go
    assert format_proto_duration(timedelta(seconds=seconds)) == proto


@given(st.timedeltas(timedelta(days=-3650), timedelta(days=3650)))
def test_what_is_printed_reads_as_the_same_duration(value):
    """No duration is lost on its way through a document, however short."""
    assert parse_duration(format_duration(value)) == value
    assert parse_duration(format_proto_duration(value)) == value


@given(st.text(max_size=80))
def test_any_text_is_a_duration_or_refused(text):
    """No text makes the reader crash."""
    try:
        value: timedelta | str = parse_duration(text)
    except ValueError as error:
        value = str(error)
    assert isinstance(value, timedelta) or value.startswith("time: ")


def test_decimals_are_plain_numbers():
    """A percentage is written with digits and a point; exponents and words are refused."""
    assert parse_decimal("12.5") == Decimal("12.5")
    for text in ("", "1e3", "NaN", "1.", "1" * 65, "1,5"):
        with pytest.raises(ValueError, match="string is not a number"):
            parse_decimal(text)


@pytest.mark.parametrize(
    "text, ip, hostname",
    [
        ("10.0.0.1", True, True),
        ("::1", True, False),
        ("fe80::1%eth0", False, False),
        ("web.internal", False, True),
        ("web.internal.", False, True),
        ("web..", False, False),
        ("web..internal", False, False),
        (".", False, False),
        ("-web", False, False),
        ("a" * 64, False, False),
        ("a." * 126 + "a", False, True),
        ("a." * 127 + "a", False, False),
        ("", False, False),
    ],
)
def test_addresses_and_names(text, ip, hostname):
    """An address is an address, a name is a DNS name of proper length."""
    assert is_ip(text) is ip
    assert is_hostname(text) is hostname


@pytest.mark.parametrize(
    "text, expected",
    [
        ("10.0.0.1", "10.0.0.1"),
        ("FD00:0:0:0:0:0:0:A", "fd00::a"),
        ("::1", "::1"),
        ("web.internal", "web.internal"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_equal_addresses_are_spelled_alike(text, expected):
    """An IPv6 address can be written in many ways; Envoy knows that they are one."""
    assert one_spelling(text) == expected

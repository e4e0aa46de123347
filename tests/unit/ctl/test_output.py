"""Output that scripts and eyes of Kuma's users know."""

from datetime import UTC, datetime, timedelta

import pytest

from kuma.ctl.output import age, parse_time, print_table, tags_text

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "ago, text",
    [
        (timedelta(0), "0s"),
        (timedelta(milliseconds=-900), "0s"),
        (timedelta(seconds=-2), "never"),
        (timedelta(seconds=59), "59s"),
        (timedelta(seconds=60), "1m"),
        (timedelta(minutes=59, seconds=59), "59m"),
        (timedelta(hours=1), "1h"),
        (timedelta(hours=23, minutes=59), "23h"),
        (timedelta(days=1), "1d"),
        (timedelta(days=364), "364d"),
        (timedelta(days=365), "1y"),
        (timedelta(days=3650), "10y"),
    ],
)
def test_ages_are_shown_in_one_unit(ago, text):
    """Seconds, minutes, hours, days, years."""
    assert age((NOW - ago).isoformat(), NOW) == text


@pytest.mark.parametrize("text", [None, "", 5, "soon"])
def test_what_never_happened_is_never(text):
    """Absent or unreadable times are not guessed."""
    assert age(text, NOW) == "never"


@pytest.mark.parametrize("fraction", ["", ".5", ".123", ".123456", ".123456789"])
def test_timestamps_with_any_precision_are_read(fraction):
    """Go prints as many digits as needed."""
    assert parse_time(f"2024-01-01T00:00:00{fraction}Z").replace(microsecond=0) == NOW
    assert parse_time("2024-01-01T00:00:00") == NOW


def test_a_table_is_aligned_and_has_no_trailing_spaces(capsys):
    """Three spaces between columns, wide cells push, hostile cells do not act."""
    print_table(("A", "NAME", "X"), [("1", "long-name", "a\nb"), ("", "b\x1b", "")], "more")
    assert capsys.readouterr().out == "A   NAME        X\n1   long-name   a b\n    b\ufffd          \n\nmore\n"


def test_tags_of_a_proxy_are_collected():
    """All inbounds and the gateway, sorted, each value once."""
    dataplane = {
        "networking": {
            "inbound": [{"tags": {"v": "2", "kuma.io/service": "web"}}, {"tags": {"v": "1"}}, {"tags": {"v": "2"}}, 7],
            "gateway": {"tags": {"g": "x"}},
        }
    }
    assert tags_text(dataplane) == "g=x kuma.io/service=web v=1,2"
    assert tags_text({}) == ""

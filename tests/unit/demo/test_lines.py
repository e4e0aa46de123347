"""Lines fit, line up, and carry nothing that a terminal would obey."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kuma.demo.lines import Look, Span, Tone, clipped, columns, line, padded, painted, width

PLAIN = Look(colour=False)


def test_a_long_line_is_cut_with_a_mark():
    """What does not fit is cut at the edge, and one sees that it was."""
    cut = clipped(line("web ", Span("→ api", Tone.NAME)), 6)

    assert painted(cut, PLAIN) == "web →…"


@given(st.lists(st.text("ab→", max_size=8)), st.integers(0, 12))
def test_no_line_is_wider_than_asked(texts, room):
    """A redrawn line that wrapped would break the picture."""
    cut = clipped(line(*texts), room)

    assert width(cut) <= room


def test_columns_line_up():
    """Names to the left, numbers to the right."""
    rows = [(line("CALLS"), line("REQ/S"), line("BY")), (line("web → api"), line("20.0"), line("api-1"))]

    shown = [painted(row, PLAIN) for row in columns(rows, right=(1,))]

    assert shown == ["CALLS       REQ/S   BY", "web → api    20.0   api-1"]


def test_padding_knows_both_sides():
    """A number stands at the right end of its column."""
    assert painted(padded(line("7"), 3, right=True), PLAIN) == "  7"
    assert painted(padded(line("7"), 3), PLAIN) == "7  "


def test_colour_is_only_where_it_is_wanted():
    """A pipe gets no escape sequence."""
    good = line(Span("yes", Tone.GOOD))

    assert painted(good, PLAIN) == "yes"
    assert painted(good, Look(colour=True)) == "\x1b[32myes\x1b[0m"


def test_texts_of_other_programs_cannot_steer_the_terminal():
    """An error text with an escape sequence is shown, not obeyed."""
    assert painted(line("a\x1b[2Jb\r\n"), PLAIN) == "a?[2Jb??"


def test_an_old_terminal_gets_ascii():
    """Without UTF-8 arrows and marks become ASCII."""
    assert painted(line("web → api ✓ ü"), Look(unicode=False)) == "web -> api + ?"

"""Lines of text with a little colour, measured and cut as they appear on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Tone(Enum):
    """Why a piece of text has a colour."""

    PLAIN = ""
    HEAD = "1"
    GOOD = "32"
    BAD = "1;31"
    ODD = "33"
    FAINT = "2"
    NAME = "36"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line."""

    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What the output can show."""

    colour: bool = False
    unicode: bool = True


_ASCII: Final = str.maketrans({"→": "->", "✓": "+", "✗": "x", "–": "-", "…": "~", "·": "|"})


def line(*parts: str | Span) -> Line:
    """A line of spans and plain texts."""
    return tuple(Span(part) if isinstance(part, str) else part for part in parts)


def width(parts: Line) -> int:
    """How many columns a line takes; the demo's own texts have no wide characters."""
    return sum(len(span.text) for span in parts)


def padded(parts: Line, columns: int, *, right: bool = False) -> Line:
    """At least so wide; ``right`` puts the text at the right end."""
    missing = columns - width(parts)
    if missing <= 0:
        return parts
    space = Span(" " * missing)
    return (space, *parts) if right else (*parts, space)


def clipped(parts: Line, columns: int) -> Line:
    """At most so wide; what is cut is marked."""
    if width(parts) <= columns:
        return parts
    kept: list[Span] = []
    room = max(0, columns - 1)
    for span in parts:
        kept.append(Span(span.text[:room], span.tone))
        room -= len(kept[-1].text)
        if room <= 0:
            break
    return (*kept, Span("…"[:columns], Tone.FAINT))


def painted(parts: Line, look: Look) -> str:
    """As it is written. Control characters, which another program may have put into a text, are not."""
    pieces = []
    for span in parts:
        text = "".join(c if c.isprintable() else "?" for c in span.text)
        if not look.unicode:
            text = text.translate(_ASCII).encode("ascii", "replace").decode()
        pieces.append(f"\x1b[{span.tone.value}m{text}\x1b[0m" if look.colour and span.tone.value and text else text)
    return "".join(pieces)


def columns(rows: Sequence[Sequence[Line]], *, right: Sequence[int] = (), gap: int = 3) -> list[Line]:
    """Rows of cells below each other; ``right`` names the columns of numbers."""
    widths = [max(width(cell) for cell in cells) for cells in zip(*rows, strict=True)]
    result = []
    for row in rows:
        spans: list[Span] = []
        for index, cell in enumerate(row):
            if index:
                spans.append(Span(" " * gap))
            last = index == len(row) - 1
            spans.extend(cell if last else padded(cell, widths[index], right=index in right))
        result.append(tuple(spans))
    return result

"""What is being started, how long it took, as lines. Pure: the time is given by the caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kuma.demo.lines import Line, Look, Span, Tone, line

_SPIN: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SPIN_ASCII: Final = "|/-\\"
_SPINS_PER_SECOND: Final = 10
_NAME_COLUMNS: Final = 20


@dataclass(slots=True)
class Step:
    """One part of the start; ``note`` says how far it is, then what came of it."""

    name: str
    begun: float
    ended: float | None = None
    note: str = ""
    failed: bool = False

    def done(self, now: float, note: str = "") -> None:
        self.ended = now
        self.note = note or self.note

    def give_up(self, now: float) -> None:
        """The start is over, and this is not done."""
        if self.ended is None:
            self.ended = now
            self.failed = True


def shown(step: Step, now: float, look: Look) -> Line:
    """A step as it is now."""
    end = now if step.ended is None else step.ended
    if step.ended is None:
        spin = _SPIN if look.unicode else _SPIN_ASCII
        mark = Span(spin[int(now * _SPINS_PER_SECOND) % len(spin)], Tone.ODD)
    else:
        mark = Span("✗", Tone.BAD) if step.failed else Span("✓", Tone.GOOD)
    seconds = Span(f"{end - step.begun:5.1f} s   ", Tone.FAINT)
    return line("  ", mark, f" {step.name:<{_NAME_COLUMNS}}", seconds, Span(step.note, Tone.FAINT))


def all_shown(steps: Sequence[Step], now: float, look: Look) -> list[Line]:
    """All steps, in the order in which they began."""
    return [shown(step, now, look) for step in steps]

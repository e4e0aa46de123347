"""Where the demo writes: a terminal, where the newest lines are redrawn in place, or anything else, line by line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TextIO

from kuma.demo.lines import Line, Look, clipped, painted

_HIDE_CURSOR: Final = "\x1b[?25l"
_SHOW_CURSOR: Final = "\x1b[?25h"
_TO_END_OF_LINE: Final = "\x1b[K"
_TO_END_OF_SCREEN: Final = "\x1b[J"


class Screen(Protocol):
    """What the demo says, and what it keeps up to date."""

    look: Look
    live: bool
    gone: bool
    """Whether nobody can read it any more: the pipe or the terminal was closed."""

    def say(self, *lines: Line) -> None:
        """Lines that stay."""

    def show(self, lines: Sequence[Line]) -> None:
        """Lines that replace those shown before; nowhere else than on a terminal."""

    def freeze(self) -> None:
        """What is shown stays as it is; what is shown next comes below it."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class _Output:
    """Text to a stream that may be closed at the other end: from then on it goes nowhere."""

    def __init__(self, out: TextIO, look: Look) -> None:
        self.look = look
        self.gone = False
        self._out = out

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            self.gone = True
            # Python flushes once more when it ends; let that succeed.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._out.fileno())
            os.close(nowhere)


class PlainScreen(_Output):
    """A file, a pipe, a log of a script."""

    live = False

    def say(self, *lines: Line) -> None:
        self._write("".join(painted(line, self.look).rstrip() + "\n" for line in lines))

    def show(self, lines: Sequence[Line]) -> None:
        """Nothing: there is no place to come back to."""

    def freeze(self) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing was changed."""


class LiveScreen(_Output):
    """A terminal. What was shown last stays below everything said, and is redrawn without flicker."""

    live = True

    def __init__(self, out: TextIO, look: Look) -> None:
        super().__init__(out, look)
        self._shown: tuple[Line, ...] = ()
        self._drawn = 0
        self._write(_HIDE_CURSOR)

    def say(self, *lines: Line) -> None:
        width, _ = shutil.get_terminal_size()
        said = "".join(f"{painted(line, self.look)}{_TO_END_OF_LINE}\n" for line in lines)
        # What is said stays whole: a long line wraps, and can be copied.
        self._write(self._back() + said + self._block(width))

    def show(self, lines: Sequence[Line]) -> None:
        self._shown = tuple(lines)
        width, _ = shutil.get_terminal_size()
        self._write(self._back() + self._block(width))

    def _back(self) -> str:
        return f"\x1b[{self._drawn}A\r" if self._drawn else "\r"

    def _block(self, width: int) -> str:
        _, height = shutil.get_terminal_size()
        lines = self._shown[: max(1, height - 1)]
        self._drawn = len(lines)
        text = "".join(f"{painted(clipped(line, width - 1), self.look)}{_TO_END_OF_LINE}\n" for line in lines)
        return text + _TO_END_OF_SCREEN

    def freeze(self) -> None:
        self._shown = ()
        self._drawn = 0

    def close(self) -> None:
        self._write(_SHOW_CURSOR)


def screen_for(out: TextIO, env: Mapping[str, str], *, plain: bool) -> Screen:
    """A live screen if there is a terminal that can move its cursor, and nobody asked for plain lines."""
    live = not plain and out.isatty() and env.get("TERM", "dumb") != "dumb"
    unicode = (out.encoding or "").lower().replace("-", "") == "utf8"
    look = Look(colour=live and not env.get("NO_COLOR"), unicode=unicode)
    return LiveScreen(out, look) if live else PlainScreen(out, look)

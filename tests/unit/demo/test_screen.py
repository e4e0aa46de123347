"""What reaches a terminal, a pipe, and a pipe that was closed."""

from __future__ import annotations

import io
import os
import select
from collections.abc import Iterator

import pytest

from kuma.demo.lines import line
from kuma.demo.screen import LiveScreen, PlainScreen, screen_for


class _Terminal:
    """The far end of a pseudo terminal."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        self.out = os.fdopen(slave, "w", encoding="utf-8")

    def read(self) -> str:
        """All that has been written since."""
        self.out.flush()
        parts = []
        while select.select([self.master], [], [], 0)[0]:
            parts.append(os.read(self.master, 65536))
        return b"".join(parts).decode()


@pytest.fixture
def terminal() -> Iterator[_Terminal]:
    """Closed after the test."""
    terminal = _Terminal()
    yield terminal
    terminal.out.close()
    os.close(terminal.master)


def test_a_terminal_is_redrawn_in_place(terminal):
    """New lines take the place of those shown before; what was said stays above them."""
    screen = screen_for(terminal.out, {"TERM": "xterm"}, plain=False)
    screen.show([line("one"), line("two")])
    terminal.read()

    screen.say(line("an event"))
    said = terminal.read()
    screen.show([line("three")])
    shown = terminal.read()

    assert said == "\x1b[2A\ran event\x1b[K\r\none\x1b[K\r\ntwo\x1b[K\r\n\x1b[J"
    assert shown == "\x1b[2A\rthree\x1b[K\r\n\x1b[J"


def test_the_cursor_comes_back(terminal):
    """The terminal is left as it was found."""
    screen = screen_for(terminal.out, {"TERM": "xterm"}, plain=False)
    screen.show([line("table")])
    screen.freeze()
    screen.close()

    output = terminal.read()

    assert output.startswith("\x1b[?25l")
    assert output.endswith("\x1b[?25h")


def test_a_frozen_picture_stays(terminal):
    """What comes after it is below it."""
    screen = screen_for(terminal.out, {"TERM": "xterm"}, plain=False)
    screen.show([line("table")])
    screen.freeze()
    terminal.read()

    screen.say(line("the end"))

    assert terminal.read() == "\rthe end\x1b[K\r\n\x1b[J"


@pytest.mark.parametrize("env, plain", [({"TERM": "dumb"}, False), ({}, False), ({"TERM": "xterm"}, True)])
def test_plain_when_the_terminal_cannot_or_the_user_does_not_want(terminal, env, plain):
    """No escape sequence then."""
    screen = screen_for(terminal.out, env, plain=plain)
    screen.show([line("table")])
    screen.say(line("a line"))

    assert isinstance(screen, PlainScreen)
    assert terminal.read() == "a line\r\n"


def test_no_colour_on_request(terminal):
    """NO_COLOR is respected; the picture still moves."""
    screen = screen_for(terminal.out, {"TERM": "xterm", "NO_COLOR": "1"}, plain=False)

    assert isinstance(screen, LiveScreen)
    assert not screen.look.colour


def test_a_file_gets_plain_lines():
    """Not a terminal: no picture."""
    out = io.StringIO()
    screen = screen_for(out, {"TERM": "xterm"}, plain=False)
    screen.show([line("table")])
    screen.say(line("a line  "))

    assert out.getvalue() == "a line\n"


def test_a_closed_pipe_is_noticed_and_does_not_hurt():
    """``kuma-demo | head``: the demo learns that nobody reads, and can still end what it started."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        screen = screen_for(out, {}, plain=False)
        screen.say(line("to nobody"))
        screen.say(line("still nobody"))

    assert screen.gone

"""Commands and their output in a Markdown text, so that what a text tells a reader to type can be typed by a test.

A block marked ``sh`` is a command. A block marked ``text`` right after it is what it shows: each line of it appears
in the output, in this order, words apart by any number of spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_STAY: Final = ("kuma-cp run", "kuma-dp run", "python3 -m http.server")


@dataclass(frozen=True, slots=True)
class Step:
    """One command as it stands in the text, and the lines it shows."""

    command: str
    shows: tuple[str, ...] = ()

    @property
    def stays(self) -> bool:
        """Whether it is a program that runs until it is ended."""
        return self.command.startswith(_STAY)

    @property
    def repeatable(self) -> bool:
        """Whether a reader may try again until a change has arrived."""
        return self.command.startswith(("curl ", "kumactl inspect ", "kumactl get "))

    def shown_by(self, output: str) -> bool:
        """Whether an output has the lines of the text."""
        position = 0
        for line in self.shows:
            found = re.compile(r" +".join(map(re.escape, line.split()))).search(output, position)
            if not found:
                return False
            position = found.end()
        return True


def steps(text: str, ports: Mapping[str, str]) -> Iterator[Step]:
    """The commands of a text in order; ``ports`` replaces numbers that stand for ports."""
    numbers = re.compile(r"\b(" + "|".join(ports) + r")\b")
    waiting: Step | None = None
    for kind, body in _BLOCK.findall(text):
        content = numbers.sub(lambda match: ports[match[1]], body).rstrip("\n")
        if kind == "sh":
            if waiting:
                yield waiting
            waiting = Step(content)
        elif kind == "text" and waiting:
            yield Step(waiting.command, tuple(content.splitlines()))
            waiting = None
    if waiting:
        yield waiting

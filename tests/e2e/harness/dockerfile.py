"""Dockerfiles read as far as one has to in order to judge them, and the files that a build would be sent."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stage:
    """One ``FROM`` and what follows: instructions as word and rest, with continued lines joined."""

    base: str
    instructions: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        return "\n".join(" ".join(one) for one in self.instructions)

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(rest for word, rest in self.instructions if word == "RUN")

    def last(self, word: str) -> str:
        """The one of an instruction that counts; empty when there is none."""
        return next((rest for one, rest in reversed(self.instructions) if one == word), "")


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """All stages; what an image is, is told by the last."""

    stages: tuple[Stage, ...] = field(default_factory=tuple)

    @classmethod
    def read(cls, path: Path) -> Dockerfile:
        stages: list[Stage] = []
        for word, rest in _instructions(path.read_text()):
            if word == "FROM":
                stages.append(Stage(rest.split()[0], ()))
            else:
                stages[-1] = Stage(stages[-1].base, (*stages[-1].instructions, (word, rest)))
        return cls(tuple(stages))

    @property
    def words(self) -> set[str]:
        return {word for stage in self.stages for word, _ in stage.instructions}

    @property
    def packages(self) -> set[str]:
        """Everything that apt-get is told to install."""
        commands = [part.split() for stage in self.stages for run in stage.runs for part in run.split("&&")]
        installs = [words for words in commands if words[:2] == ["apt-get", "install"]]
        return {word for words in installs for word in words[2:] if not word.startswith("-")}

    @property
    def user(self) -> str:
        return self.stages[-1].last("USER")

    @property
    def entry_point(self) -> list[str]:
        found: list[str] = json.loads(self.stages[-1].last("ENTRYPOINT"))
        return found

    @property
    def arguments(self) -> list[str]:
        found: list[str] = json.loads(self.stages[-1].last("CMD"))
        return found

    @property
    def ports(self) -> set[str]:
        return set(self.stages[-1].last("EXPOSE").split())


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        yield word.upper(), rest.strip()


def context(root: Path, target: Path) -> list[Path]:
    """
    Copy what ``COPY . …`` would copy to ``target``: the files of ``root`` that ``.dockerignore`` lets through.

    Reads the patterns that the file has: ``*``, names, ``**/name``, and ``!name``; the last that fits decides.
    """
    lines = (root / ".dockerignore").read_text().splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    copied = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and relative.parts[0] != ".venv" and not _ignored(relative, patterns):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / relative)
            copied.append(relative)
    return copied


def _ignored(path: Path, patterns: list[str]) -> bool:
    ignored = False
    places = [str(path), *map(str, path.parents)][:-1]
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        if any(fnmatch.fnmatchcase(place, wanted.removeprefix("**/")) or _ends(place, wanted) for place in places):
            ignored = not pattern.startswith("!")
    return ignored


def _ends(place: str, pattern: str) -> bool:
    return pattern.startswith("**/") and place.endswith(f"/{pattern.removeprefix('**/')}")

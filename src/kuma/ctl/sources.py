"""Where ``kumactl apply`` reads from: a file, a directory, a URL or standard input, cut into documents.

Every document remembers where it began, so that a later complaint can say where to look.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from kuma.core.errors import BadRequest, TooLarge
from kuma.ctl.errors import CommandFailed

MAX_BYTES: Final = 5 * 1024 * 1024
_CHUNK: Final = 64 * 1024
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_SEPARATOR: Final = re.compile(r"^---[^\n]*(?:\n|\Z)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Text:
    """One text and what to call it."""

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a text, not yet parsed."""

    source: str
    line: int
    content: str


def read(source: str, download_within: float = 10.0) -> list[Text]:
    """
    Everything behind the value of ``--file``; a URL has ``download_within`` seconds.

    Raises:
        CommandFailed: it cannot be read.
        BadRequest: it is not text.
        TooLarge: over 5 MiB.
    """
    if source == "-":
        return [_text("standard input", _limited("standard input", sys.stdin.buffer))]
    if source.startswith(("http://", "https://")):
        return [_text(source, _download(source, download_within))]
    path = Path(source)
    if path.is_dir():
        return [_file(file) for file in sorted(path.iterdir()) if file.suffix.lower() in _SUFFIXES and file.is_file()]
    return [_file(path)]


def documents(text: Text) -> Iterator[Document]:
    """The parts of a text between lines that start with ``---``; empty ones are left out."""
    start = 0
    line = 1
    ends = [(match.start(), match.end()) for match in _SEPARATOR.finditer(text.content)]
    for stop, go_on in [*ends, (len(text.content), len(text.content))]:
        content = text.content[start:stop]
        if content.strip():
            yield Document(text.name, line, content)
        line += text.content.count("\n", start, go_on)
        start = go_on


def _file(path: Path) -> Text:
    try:
        with path.open("rb") as file:
            return _text(str(path), _limited(str(path), file))
    except OSError as error:
        raise CommandFailed(f"error while reading provided file: {path}: {error.strerror}") from None


def _limited(name: str, file: IO[bytes]) -> bytes:
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large(name)
    return data


def _too_large(name: str) -> TooLarge:
    return TooLarge(f"{name} is larger than {MAX_BYTES} bytes; split it")


def _text(name: str, data: bytes) -> Text:
    try:
        return Text(name, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadRequest(f"{name} is not UTF-8 text: wrong byte at offset {error.start}") from None


def _download(url: str, within: float) -> bytes:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    failed = f"error while retrieving URL {url}"
    deadline = time.monotonic() + within
    try:
        with urlopen(url, timeout=within) as answer:  # noqa: S310 - only http and https come here
            if answer.status != 200:
                raise CommandFailed(f"{failed}: status {answer.status}")
            data = bytearray()
            while chunk := answer.read1(_CHUNK):
                data += chunk
                if len(data) > MAX_BYTES:
                    raise _too_large(url)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not complete within {within:g}s")
            return bytes(data)
    except HTTPError as error:
        with error:
            raise CommandFailed(f"{failed}: status {error.code}; is the address right?") from None
    except (OSError, HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)
        reason = getattr(cause, "strerror", None) or str(cause) or type(error).__name__
        raise CommandFailed(f"{failed}: {reason}; download it by other means and use --file PATH") from None

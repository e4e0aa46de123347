"""Log lines of kuma-cp: time, level, component, sentence, then the facts as JSON; to stderr or a rotating file.

The level can be changed while running, for all components or for one (``/logging`` of the diagnostics server).
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from logging import LogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

from kuma.cp.server.diagnostics.levels import LEVELS, LogLevels

_RANK: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "exception": 40, "critical": 50}
_SHOWN: Final = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR", "exception": "ERROR"}
_MEGABYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogFile:
    """Where to write instead of stderr, and how much to keep."""

    path: Path
    max_megabytes: int
    max_files: int
    max_days: int


class _Sink:
    """What structlog writes to: one component's end of the output."""

    def __init__(self, output: _Output, component: str) -> None:
        self._output = output
        self.component = component

    def msg(self, line: str) -> None:
        self._output.write(line)

    debug = info = warning = error = exception = critical = msg


class _Output:
    def __init__(self, stream: TextIO, file: LogFile | None) -> None:
        self._stream = stream
        self._handler = _Rotating(file) if file is not None else None

    def write(self, line: str) -> None:
        if self._handler is not None:
            self._handler.emit(LogRecord("", logging.INFO, "", 0, line, None, None))
        else:
            self._stream.write(line + "\n")
            self._stream.flush()


class _Rotating(RotatingFileHandler):
    """Rotates by size and forgets by count and age."""

    def __init__(self, file: LogFile) -> None:
        super().__init__(file.path, maxBytes=file.max_megabytes * _MEGABYTE, backupCount=file.max_files, delay=False)
        self._file = file

    def doRollover(self) -> None:  # noqa: N802 - the name is the standard library's
        super().doRollover()
        oldest = time.time() - self._file.max_days * 86400
        for path in self._file.path.parent.glob(f"{self._file.path.name}.*"):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)


def configure(general: str, levels: LogLevels, *, file: LogFile | None = None, stream: TextIO | None = None) -> None:
    """
    Set up logging for this process; ``general`` is a name of ``LEVELS``.

    Raises:
        OSError: the log file cannot be opened.
    """
    output = _Output(stream or sys.stderr, file)
    threshold = LEVELS[general]

    def drop_hidden(sink: _Sink, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if not levels.allows(sink.component, _RANK.get(method, logging.INFO), threshold):
            raise structlog.DropEvent
        return event

    def explain(sink: _Sink, _: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The whole trace of an unexpected failure is for the debug level; else where and what it was."""
        if event.get("exc_info") and not levels.allows(sink.component, logging.DEBUG, threshold):
            event["failure"] = _failure(event.pop("exc_info"))
        return event

    structlog.configure(
        processors=[drop_hidden, explain, structlog.processors.format_exc_info, _line],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=lambda *names: _Sink(output, names[0] if names else "kuma-cp"),
        cache_logger_on_first_use=False,
    )


def _line(sink: _Sink, method: str, event: MutableMapping[str, Any]) -> str:
    """``2026-01-02T03:04:05.678Z INFO xds proxy connected {"mesh": "default"}``, tab-separated."""
    now = time.time()
    moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"
    sentence, exception = event.pop("event", ""), event.pop("exception", "")
    parts = [moment, _SHOWN.get(method, method.upper()), sink.component, _one_line(str(sentence))]
    if event:
        parts.append(_facts(event))
    return "\t".join(parts) + (f"\n{exception}" if exception else "")


def _failure(found: object) -> str:
    """An exception in one line: what it is, and the line of ours it came from."""
    error = found if isinstance(found, BaseException) else sys.exc_info()[1]
    if error is None:
        return "unknown"
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""
    return f"{error!r}{where}"


def _facts(event: Mapping[str, Any]) -> str:
    return json.dumps(dict(event), default=str, ensure_ascii=True)


def _one_line(text: str) -> str:
    """A sentence that cannot forge another line."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)

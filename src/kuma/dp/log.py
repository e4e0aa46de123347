"""kuma-dp's own log: one line for each event, to stderr or to a file that rotates.

The standard library's logging, because the rest of kuma-dp must stay small in memory and quick to start.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

from kuma.core.errors import ConfigInvalid

_MEGABYTE = 1 << 20
_DAY = 86400


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Where and how much; sizes in megabytes, ages in days, 0 for no limit of age."""

    level: str = "info"
    path: str = ""
    max_retained_files: int = 1000
    max_size: int = 100
    max_age: int = 30


def configure(settings: LogSettings) -> None:
    """
    Send this program's log where the user wants it.

    Raises:
        ConfigInvalid: the file cannot be written.
    """
    if settings.level == "off":
        logging.disable(logging.CRITICAL)
        return
    handler: logging.Handler
    if settings.path:
        try:
            handler = _AgeingFile(settings)
        except OSError as error:
            raise ConfigInvalid(f"--log-output-path: cannot write {settings.path}: {error.strerror}") from error
    else:
        handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ\t%(levelname)s\t%(name)s\t%(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if settings.level == "debug" else logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class _AgeingFile(RotatingFileHandler):
    """A file that starts anew at a size, keeps so many old ones, and none that is too old."""

    def __init__(self, settings: LogSettings) -> None:
        self._max_age = settings.max_age * _DAY
        super().__init__(
            settings.path,
            maxBytes=settings.max_size * _MEGABYTE,
            backupCount=settings.max_retained_files,
            encoding="utf-8",
        )

    def doRollover(self) -> None:  # noqa: N802  # the name the base class calls
        super().doRollover()
        if not self._max_age:
            return
        oldest = time.time() - self._max_age
        current = Path(self.baseFilename)
        for old in current.parent.glob(f"{current.name}.*"):
            if old.suffix[1:].isdigit() and old.stat().st_mtime < oldest:
                old.unlink(missing_ok=True)

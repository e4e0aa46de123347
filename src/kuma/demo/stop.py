"""Signals that end the demo: the first one ends it in order, the second one ends it now."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_CLOSED_PIPE: Final = 141
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """``asked`` is set by the first signal, ``hurry`` by the second."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        self.exit_code = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The process's signals arrive here while the context lasts."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on, number)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def nobody_reads(self) -> None:
        """What is written goes nowhere, so that there is no reason to go on."""
        if not self.asked.is_set():
            self.exit_code = _CLOSED_PIPE
            self.asked.set()

    def _on(self, number: signal.Signals) -> None:
        if self.asked.is_set():
            self.hurry.set()
        else:
            self.exit_code = 128 + number
            self.asked.set()

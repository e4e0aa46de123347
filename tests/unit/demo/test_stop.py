"""Signals end the demo in order, and a second one ends it now."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from kuma.demo.stop import Stop


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_first_and_second_signal(number, code):
    """The exit code tells the first signal; only the second one hurries."""
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stop.asked.wait()
        assert not stop.hurry.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await stop.hurry.wait()

    assert stop.exit_code == code


async def test_nobody_reads():
    """A closed pipe ends the demo as a pipe does, unless a signal came first."""
    stop = Stop()
    stop.nobody_reads()

    assert stop.asked.is_set()
    assert stop.exit_code == 141

from __future__ import annotations

import pytest

from kuma.dp.http import Answer, HttpError
from kuma.dp.startup import tell_when_serving


class _Envoy:
    """Answers one state after the other."""

    def __init__(self, *states) -> None:
        self._states = list(states)

    async def ready(self):
        state = self._states.pop(0)
        if isinstance(state, HttpError):
            raise state
        return Answer(200 if state == "LIVE" else 503, f"{state}\n".encode())


async def _at_once(_: float) -> None:
    pass


async def test_the_log_says_when_envoy_serves(caplog):
    """The line an operator waits for."""
    caplog.set_level("INFO")

    await tell_when_serving(_Envoy(HttpError("no socket yet"), "PRE_INITIALIZING", "LIVE"), _at_once)

    assert [record.getMessage() for record in caplog.records] == ["Envoy has its configuration and serves"]


async def test_nothing_is_told_of_an_envoy_that_drains(caplog):
    """It was asked to end before it was looked at."""
    caplog.set_level("INFO")

    await tell_when_serving(_Envoy("DRAINING"), _at_once)

    assert not caplog.records


@pytest.mark.parametrize("state", ["PRE_INITIALIZING", HttpError("no answer")])
async def test_a_start_that_takes_long_is_told_once(state, caplog):
    """With the place to look at; and the good news is told when it comes."""
    caplog.set_level("INFO")

    await tell_when_serving(_Envoy(*[state] * 100, "LIVE"), _at_once)

    slow, good = [record.getMessage() for record in caplog.records]
    assert "config stream" in slow
    assert (state if isinstance(state, str) else "no answer") in slow
    assert "serves" in good

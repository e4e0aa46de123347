"""Settings every test shares; what pytest itself can hold is in pyproject.toml.

`HYPOTHESIS_PROFILE` picks how hard the property tests look: `dev` (default) is quick, `gate` (of `make check`) quicker;
`ci` looks longer and always takes the same examples, so that a red build stays red until it is mended.
"""

import asyncio
import os
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machine's speed must not decide whether a property holds: no deadline per example.
settings.register_profile("dev", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("gate", settings.get_profile("dev"), max_examples=15)
settings.register_profile("ci", settings.get_profile("dev"), max_examples=60, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# looptime asks the policy for a loop in every synchronous test; on Python 3.11 that leaves one open behind each.
asyncio.set_event_loop(None)

_END_TO_END = Path(__file__).parent / "e2e"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the end-to-end tests of one file on one worker: they share the programs the file starts."""
    for item in items:
        if item.path.is_relative_to(_END_TO_END):
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(_END_TO_END))))


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    # A shell that runs the tests in the background lets them, and with them every program they start, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

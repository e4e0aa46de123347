"""Fixtures of the end-to-end tests: a control plane for each file, and a lab for each test.

A test file may set ``CONTROL_PLANE``: settings of the control plane its tests share, as environment variables.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.lab import Lab

_PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember whether the test itself passed, for the teardown of its lab."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture(scope="module")
def shared_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ControlPlane]]:
    """The control plane of a test file, started by the first test that wants it."""
    started: list[ControlPlane] = []
    try:
        yield started
        for control_plane in started:
            assert control_plane.stop() == 0
            control_plane.assert_healthy_log()
    finally:
        for control_plane in started:
            control_plane.close()


@pytest.fixture
def lab(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    shared_control_plane: list[ControlPlane],
) -> Iterator[Lab]:
    """What a test starts things with. After a passed test its proxies' configurations are checked once more."""

    def shared() -> ControlPlane:
        if not shared_control_plane:
            settings = getattr(request.module, "CONTROL_PLANE", {})
            directory = tmp_path_factory.mktemp("shared") / "control-plane"
            shared_control_plane.append(ControlPlane(directory, settings))
            shared_control_plane[0].start()
        return shared_control_plane[0]

    lab = Lab(tmp_path, shared)
    try:
        yield lab
        if request.node.stash.get(_PASSED, False):
            lab.look_again()
        else:
            print(lab.logs())  # noqa: T201 # pytest shows it with the failed test
            for control_plane in shared_control_plane:
                print(control_plane.program.tail(20))  # noqa: T201 # the same
    finally:
        lab.close()

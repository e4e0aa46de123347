"""Fixtures of the end-to-end tests: a control plane for each file, and a lab for each test.

A test file may set ``CONTROL_PLANE``: settings of the control plane its tests share, as environment variables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.walkthrough import Shell, alone

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
    shared = partial(_shared, request.module, tmp_path_factory, shared_control_plane)
    yield from _used(Lab(tmp_path, shared), lambda: request.node.stash.get(_PASSED, False), shared_control_plane)


@pytest.fixture(scope="module")
def lasting_lab(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    shared_control_plane: list[ControlPlane],
) -> Iterator[Lab]:
    """A lab for all tests of a file, which look at one running mesh."""
    shared = partial(_shared, request.module, tmp_path_factory, shared_control_plane)
    failed_before = request.session.testsfailed
    lab = Lab(tmp_path_factory.mktemp("lab"), shared)
    yield from _used(lab, lambda: request.session.testsfailed == failed_before, shared_control_plane)


def _shared(module: ModuleType, folders: pytest.TempPathFactory, started: list[ControlPlane]) -> ControlPlane:
    if not started:
        settings = getattr(module, "CONTROL_PLANE", {})
        started.append(ControlPlane(folders.mktemp("shared") / "control-plane", settings))
        started[0].start()
    return started[0]


def _used(lab: Lab, passed: Callable[[], bool], control_planes: list[ControlPlane]) -> Iterator[Lab]:
    try:
        yield lab
        if passed():
            lab.look_again()
        else:
            print(lab.logs())  # noqa: T201 # pytest shows it with the failed test
            for control_plane in control_planes:
                print(control_plane.program.tail(20))  # noqa: T201 # the same
    finally:
        lab.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell for walk-throughs, alone on its network."""
    prefix = alone()
    if not prefix:
        pytest.skip("no network namespace can be made here, and the default ports may be in use")
    shell = Shell(tmp_path, prefix)
    try:
        yield shell
    finally:
        shell.close()

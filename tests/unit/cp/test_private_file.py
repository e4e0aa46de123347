"""Keys that others on the host could read."""

import pytest
from structlog.testing import capture_logs

from kuma.cp.private_file import keep_private


def kept(path, **of):
    """The mode of a file that was to be kept private, and what was told."""
    with capture_logs() as lines:
        keep_private(path, **of)
    return path.stat().st_mode & 0o777, [(line["log_level"], line["file"], line["mode"]) for line in lines]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_a_key_that_others_can_read_is_closed_and_told(tmp_path, mode):
    """Whoever reads the log may want another key."""
    path = tmp_path / "store.key"
    path.touch()
    path.chmod(mode)

    assert kept(path) == (0o600, [("warning", str(path), f"{mode:04o}")])
    assert kept(path) == (0o600, [])


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_key_is_left_as_it_is(tmp_path, mode):
    """Nothing is told."""
    path = tmp_path / "store.key"
    path.touch()
    path.chmod(mode)

    assert kept(path) == (mode, [])


def test_a_file_of_someone_else_is_told_and_left(tmp_path):
    """It may be mounted, or shared on purpose; a group may be how kuma-cp reads it."""
    path = tmp_path / "store.key"
    path.touch()
    someone = path.stat().st_uid + 1
    path.chmod(0o644)
    assert kept(path, user=lambda: someone) == (0o644, [("warning", str(path), "0644")])
    path.chmod(0o640)
    assert kept(path, user=lambda: someone) == (0o640, [])


def test_a_file_that_is_not_there_is_no_fault(tmp_path):
    """Whoever needs it says so."""
    with capture_logs() as lines:
        keep_private(tmp_path / "none")
    assert lines == []

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.dp.workdir import work_dir, write_private


def test_a_temporary_directory_is_passable_and_gone_afterwards():
    """Mode 0711: others reach a socket they know, and cannot list."""
    with work_dir("") as path:
        assert path.name.startswith("kuma-dp-")
        assert stat.S_IMODE(path.stat().st_mode) == 0o711
        (path / "x").write_text("x")

    assert not path.exists()


@pytest.fixture
def temporary(monkeypatch):
    """Where temporary directories are made; its name is short, for there will be sockets in them."""
    with tempfile.TemporaryDirectory() as base:
        monkeypatch.setattr(tempfile, "tempdir", base)
        yield Path(base)


def test_what_a_killed_kuma_dp_left_is_removed_by_the_next_start(temporary: Path):
    """It holds a token. What is in use, or is not ours to judge, stays."""
    left, foreign = temporary / "kuma-dp-left", temporary / "kuma-dp-of-kuma"
    for directory in (left, foreign):
        directory.mkdir()
        (directory / "bootstrap.yaml").write_text("token")
    (left / ".in-use").touch()

    with work_dir("") as first:
        assert not left.exists()
        with work_dir("") as second:
            assert first.exists()
        assert not second.exists()

    assert [entry.name for entry in temporary.iterdir()] == ["kuma-dp-of-kuma"]


def test_a_given_directory_is_made_and_kept():
    """It is the user's."""
    with tempfile.TemporaryDirectory() as base, work_dir(f"{base}/a/b") as path:
        assert path == Path(base, "a", "b")
        assert path.is_dir()


@pytest.mark.parametrize("given", ["/dev/null/x", "/dev/null", "/run/" + "x" * 100])
def test_impossible_directories_are_named(given):
    """Before Envoy fails to open its socket there."""
    with pytest.raises(ConfigInvalid, match="--work-dir"), work_dir(given):
        pass


def test_private_files_are_private_from_the_first_byte(tmp_path: Path):
    """Also when a readable file was there before; and a link is replaced, not followed."""
    file = tmp_path / "token"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, b"new")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes() == b"new"

    (tmp_path / "link").symlink_to(file)
    write_private(tmp_path / "link", b"x")

    assert not (tmp_path / "link").is_symlink()
    assert file.read_bytes() == b"new"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "token"]


def test_what_cannot_be_written_is_named(tmp_path: Path):
    """With the reason."""
    with pytest.raises(ConfigInvalid, match="cannot write"):
        write_private(tmp_path / "none" / "x", b"x")

"""Files of the demo are the user's own, and gone at the end."""

from __future__ import annotations

import stat

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.demo.directory import temporary, write


@pytest.fixture(autouse=True)
def temporary_files_here(tmp_path, monkeypatch):
    """Temporary files of the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_nobody_else_reads_and_nothing_stays(tmp_path):
    """Tokens are among the files."""
    with temporary(keep=False) as directory:
        write(directory, {"web.token": "secret", "mesh/1.yaml": "type: Mesh"})
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (directory, directory / "web.token")}
        assert modes == {0o700, 0o600}
        assert (directory / "mesh/1.yaml").read_text() == "type: Mesh"

    assert list(tmp_path.iterdir()) == []


def test_kept_on_request():
    """With --keep all of it stays, also after a failure."""
    with pytest.raises(RuntimeError), temporary(keep=True) as directory:
        raise RuntimeError

    assert directory.is_dir()


def test_no_place_for_temporary_files(monkeypatch, tmp_path):
    """The refusal names the variable that changes the place."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))

    with pytest.raises(ConfigInvalid, match="TMPDIR"), temporary(keep=False):
        pass


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    """Which file, and why."""
    (tmp_path / "web.yaml").mkdir()

    with pytest.raises(ConfigInvalid, match=r"web\.yaml: Is a directory"):
        write(tmp_path, {"web.yaml": ""})

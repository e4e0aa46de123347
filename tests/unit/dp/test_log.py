from __future__ import annotations

import logging
import logging.handlers
import os
import time
from pathlib import Path

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.dp.log import LogSettings, configure


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.disable(logging.NOTSET)


def test_one_line_for_each_event(tmp_path: Path):
    """Time in UTC, level, place and text."""
    configure(LogSettings(path=str(tmp_path / "dp.log")))
    logging.getLogger("kuma.dp").info("joined %s", "default")
    logging.getLogger("kuma.dp").debug("not shown")

    (line,) = (tmp_path / "dp.log").read_text().splitlines()
    assert line.split("\t")[1:] == ["INFO", "kuma.dp", "joined default"]
    assert line.split("\t")[0].endswith("Z")


def test_off_is_silent(tmp_path: Path, capsys):
    """Nothing at all."""
    configure(LogSettings(level="off"))
    logging.getLogger("kuma.dp").error("x")

    assert capsys.readouterr().err == ""


def test_old_files_go(tmp_path: Path):
    """By number and by age."""
    path = tmp_path / "dp.log"
    configure(LogSettings(path=str(path), max_size=1, max_retained_files=5, max_age=1))
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.handlers.RotatingFileHandler)
    long_ago = time.time() - 3 * 86400
    old = tmp_path / "dp.log.1"
    old.write_text("old")
    os.utime(old, (long_ago, long_ago))

    handler.doRollover()

    assert sorted(file.name for file in tmp_path.iterdir()) == ["dp.log", "dp.log.1"]


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path):
    """The flag is named."""
    with pytest.raises(ConfigInvalid, match="--log-output-path"):
        configure(LogSettings(path=str(tmp_path)))

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from kuma.dp.token_file import watch
from tests.unit.dp.control_plane import token


class _Enough(Exception):
    pass


async def _watched(path: Path, changes, deliver=None):
    """Between two looks at the file, one change."""
    queue = list(changes)

    async def pause(_):
        if not queue:
            raise _Enough
        queue.pop(0)()

    with pytest.raises(_Enough):
        await watch(str(path), deliver, pause)


@pytest.mark.parametrize("reloaded, words", [(True, "next connection"), (False, "keeps the token")])
async def test_a_changed_token_is_told_once_with_what_it_means(tmp_path: Path, caplog, reloaded, words):
    """Whether Envoy takes it depends on the control plane; what Envoy gets has no line break at its end."""
    delivered = []
    caplog.set_level(logging.INFO)
    path = tmp_path / "token"
    path.write_text(token())

    await _watched(
        path,
        [lambda: None, lambda: path.write_text(token(Name="other") + "\n"), lambda: None],
        delivered.append if reloaded else None,
    )

    (record,) = caplog.records
    assert words in record.message
    assert delivered == ([token(Name="other")] if reloaded else [])


async def test_a_swapped_link_counts_as_a_change(tmp_path: Path, caplog):
    """So does Kubernetes replace mounted files."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(token())
    link = tmp_path / "token"
    link.symlink_to("a")

    def swap():
        link.unlink()
        link.symlink_to("b")

    await _watched(link, [swap])

    assert "keeps the token" in caplog.text


async def test_a_damaged_or_missing_file_is_told_and_survived(tmp_path: Path, caplog):
    """The proxy goes on with the token it has; the file may come back."""
    path = tmp_path / "token"
    path.write_text(token())

    await _watched(path, [lambda: path.write_text("s3cret"), path.unlink, lambda: path.write_text(token())])

    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert "s3cret" not in caplog.text


async def test_without_a_file_there_is_nothing_to_watch():
    """A token given as text cannot change."""
    await asyncio.wait_for(watch("", None), 1)

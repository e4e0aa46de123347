from __future__ import annotations

from pathlib import Path

import pytest

from kuma.dp.machine import memory_limit, system_ca_path


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("memory.max", "536870912\n", 536870912),
        ("memory.max", "max\n", 0),
        ("memory.limit_in_bytes", "1073741824\n", 1 << 30),
        ("memory.limit_in_bytes", "9223372036854771712\n", 0),
        ("memory.max", "\n", 0),
    ],
)
def test_the_memory_limit_of_a_container(tmp_path: Path, name, text, expected):
    """Both versions of cgroups; no limit is 0."""
    folder = tmp_path / "sys/fs/cgroup"
    folder.mkdir(parents=True)
    (folder / name).write_text(text)

    assert memory_limit(tmp_path) == expected


def test_a_machine_without_cgroups_has_no_limit(tmp_path: Path):
    """Not known is not limited."""
    assert memory_limit(tmp_path) == 0


def test_the_system_ca_path_exists_or_is_empty():
    """Envoy is never given a path that is not there."""
    path = system_ca_path()

    assert not path or Path(path).is_file()

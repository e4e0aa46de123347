"""Secrets on the disk of the control plane: never in clear text, and sealed with another key on command."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kuma.core.model.resource import Key
from kuma.cp.store.opening import open_store
from kuma.cp.store.port import CONTROL_PLANE, Put
from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.processes import command, environment

VALUE = b"a value that stands nowhere else: 3f1c9a"
PAUSE = 0.0005


@pytest.fixture
def control_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane with secrets."""
    made = ControlPlane(tmp_path / "control-plane")
    try:
        made.start()
        put(made, "mine", VALUE)
        yield made
        made.program.assert_clean_log()
    finally:
        made.close()


def put(control_plane: ControlPlane, name: str, value: bytes) -> None:
    """Create a GlobalSecret."""
    data = base64.b64encode(value).decode()
    answer = control_plane.api.put(f"/global-secrets/{name}", {"type": "GlobalSecret", "name": name, "data": data})
    assert answer.status in (200, 201), answer.text


def read(control_plane: ControlPlane, name: str = "mine") -> bytes:
    """The value of a GlobalSecret."""
    return base64.b64decode(control_plane.api.get(f"/global-secrets/{name}")["data"])


def work(control_plane: ControlPlane) -> Path:
    """The work directory."""
    return control_plane.directory / "work"


def rotate(home: Path, folder: Path, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    """The command, begun, on a work directory."""
    return subprocess.Popen(
        [*command("kuma-cp"), "secrets", "rotate-key", *arguments],
        env=environment(home, {"KUMA_GENERAL_WORK_DIR": str(folder), **settings}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rotated(home: Path, folder: Path, *arguments: str, **settings: str) -> str:
    """What the command says when it succeeds."""
    process = rotate(home, folder, *arguments, **settings)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    return out


def on_disk(control_plane: ControlPlane) -> bytes:
    """All that is in the work directory."""
    return b"".join(path.read_bytes() for path in work(control_plane).iterdir())


def test_a_secret_never_stands_on_the_disk_and_every_file_is_private(control_plane: ControlPlane):
    """Neither as it is nor as base64, while the control plane runs and afterwards; only its owner reads the files."""
    for _ in range(2):
        content = on_disk(control_plane)
        assert VALUE not in content
        assert base64.b64encode(VALUE)[:-4] not in content
        assert b"PRIVATE KEY" not in content.replace((work(control_plane) / "kuma-cp.key").read_bytes(), b"")
        assert {path.stat().st_mode & 0o777 for path in work(control_plane).iterdir()} == {0o600}
        assert work(control_plane).stat().st_mode & 0o777 == 0o700
        control_plane.stop()


def test_another_key(control_plane: ControlPlane):
    """While it runs the command is refused; afterwards everything reads as before, with the new key only."""
    admin = read(control_plane, "admin-user-token")
    process = rotate(control_plane.home, work(control_plane))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"in use by another control plane (process {control_plane.program.pid}): stop that one" in out
    control_plane.stop()
    former = (work(control_plane) / "store.key").read_bytes()

    said = rotated(control_plane.home, work(control_plane))

    assert "the former key is in" in said
    assert former.hex() not in said
    assert (work(control_plane) / "store.key").read_bytes() != former
    assert {path.stat().st_mode & 0o777 for path in work(control_plane).iterdir()} == {0o600}
    control_plane.start()
    assert read(control_plane) == VALUE
    assert read(control_plane, "admin-user-token") == admin
    assert b"mesh-system:admin" in control_plane.api.request("GET", "/who-am-i").body
    history = control_plane.api.get("/_changes?type=GlobalSecret&size=1000")
    assert "mine" in str(history)


def test_a_key_from_the_environment(control_plane: ControlPlane, tmp_path: Path):
    """The new key is put into a file; the control plane starts with it as text, and no longer with the former one."""
    control_plane.stop()
    new = tmp_path / "new.key"
    former = base64.b64encode((work(control_plane) / "store.key").read_bytes()).decode()

    said = rotated(control_plane.home, work(control_plane), f"--new-key-file={new}", KUMA_STORE_ENCRYPTION_KEY=former)

    assert f"KUMA_STORE_ENCRYPTION_KEY_FILE={new}" in said
    control_plane.change(KUMA_STORE_ENCRYPTION_KEY=base64.b64encode(new.read_bytes()).decode())
    control_plane.start()
    assert read(control_plane) == VALUE
    assert control_plane.api.get("/config")["store"]["encryption"]["key"] == "*****"


def sidelog(folder: Path, size: int) -> Callable[[], bool]:
    """Whether so many bytes of the change are written."""
    path = folder / "kuma.db-wal"
    return lambda: path.exists() and path.stat().st_size > size


def moments(folder: Path) -> list[Callable[[], bool]]:
    """Conditions that come true one after the other while a key is changed."""
    seen = set(folder.glob("store.key.*"))
    return [
        (folder / ".store.key.next").exists,
        (folder / "store.key.next").exists,
        *(sidelog(folder, size) for size in (0, 50_000, 200_000, 400_000, 600_000, 900_000, 1_200_000)),
        lambda: bool(set(folder.glob("store.key.????????????????")) - seen),
        lambda: not (folder / "store.key.next").exists() and bool(set(folder.glob("store.key.*")) - seen),
    ]


def killed_at(folder: Path, moment: Callable[[], bool]) -> bool:
    """Change the key, and kill that as soon as a condition is true; whether it was still under way."""
    process = rotate(folder, folder)
    while process.poll() is None and not moment():
        time.sleep(PAUSE)
    under_way = process.poll() is None
    process.kill()
    process.communicate()
    return under_way


async def opened(folder: Path, *puts: Put) -> dict[Key, bytes]:
    """What a start finds, after writing more."""
    store = await open_store("sqlite", path=folder / "kuma.db", key_file=folder / "store.key")
    try:
        if puts:
            await store.write(puts, author=CONTROL_PLANE, now=datetime.now(UTC))
        return {record.key: record.spec for record in await store.list("GlobalSecret")}
    finally:
        await store.close()


@pytest.mark.timeout(180)
def test_kill_9_at_any_moment_leaves_every_secret_readable(tmp_path: Path):
    """Whatever was under way, the next start finds what it needs, reads all and tidies up; so does a next command."""
    expected = {Key("GlobalSecret", "", f"s-{number}"): b"%d of %s" % (number, VALUE * 20) for number in range(1000)}
    asyncio.run(opened(tmp_path, *(Put(*item) for item in expected.items())))
    killed = 0
    for number in range(len(moments(tmp_path))):
        killed += killed_at(tmp_path, moments(tmp_path)[number])
        if number % 3 == 2:
            rotated(tmp_path, tmp_path)
        assert asyncio.run(opened(tmp_path)) == expected
        assert not [path for path in tmp_path.iterdir() if ".next" in path.name]
    assert killed >= 3

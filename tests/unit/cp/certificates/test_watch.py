"""Certificate files are replaced in many ways; each is noticed once, when it is complete."""

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import structlog

from kuma.core.errors import ConfigInvalid
from kuma.cp.certificates.watch import CertificateWatch, Watched

QUICK = timedelta(milliseconds=20)


@pytest.fixture
def pair(tmp_path):
    """Two files."""
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_text("one")
    return tmp_path / "tls.crt", tmp_path / "tls.key"


@asynccontextmanager
async def watching(files, read):
    """A watch over files; what ``read`` gives or raises at each change arrives in the queue."""
    seen = asyncio.Queue()

    async def renew():
        try:
            found = read()
        except ConfigInvalid as error:
            seen.put_nowait(error)
            raise
        seen.put_nowait(found)

    watch = CertificateWatch(QUICK)
    watch.add(Watched("the server", files, renew))
    task = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(10):
            yield seen
    finally:
        task.cancel()


async def quiet(seen):
    """For a time of many looks, nothing was read again."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(seen.get(), QUICK.total_seconds() * 10)


async def test_untouched_files_are_not_read_again(pair):
    """A server does not renew itself for nothing."""
    async with watching(lambda: pair, lambda: "again") as seen:
        await quiet(seen)


def overwrite(path):
    """In place."""
    path.write_text("two!")


def replace(path):
    """By another file of this name, at once."""
    fresh = path.with_suffix(".new")
    fresh.write_text("two")
    fresh.replace(path)


def same_size(path):
    """With a time of its own, as copying tools set it."""
    path.write_text("two")
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [overwrite, replace, same_size])
async def test_a_change_is_noticed_once(pair, change):
    """However it is made."""
    async with watching(lambda: pair, pair[0].read_text) as seen:
        change(pair[0])

        assert (await seen.get()).startswith("two")
        await quiet(seen)


async def test_a_switched_link_is_a_change(tmp_path, pair):
    """As a mounted secret of Kubernetes is replaced: the file is the same name, behind a link to another folder."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "tls.crt").write_text(version)
    (tmp_path / "current").symlink_to("v1")
    path = tmp_path / "current" / "tls.crt"
    async with watching(lambda: [path], path.read_text) as seen:
        (tmp_path / "fresh").symlink_to("v2")
        (tmp_path / "fresh").replace(tmp_path / "current")

        assert await seen.get() == "v2"


async def test_a_folder_is_watched_for_files_that_come_and_go(tmp_path):
    """A CA that is added counts, and so does one that is taken away."""

    def files():
        return list((tmp_path / "clients").iterdir())

    (tmp_path / "clients").mkdir()
    async with watching(files, lambda: [path.name for path in files()]) as seen:
        (tmp_path / "clients" / "a.pem").write_text("a")
        assert await seen.get() == ["a.pem"]
        (tmp_path / "clients" / "a.pem").unlink()
        assert await seen.get() == []


async def test_files_that_are_still_being_written_are_left_until_they_are_quiet(pair):
    """A certificate and its key, written one after the other, are read as one pair."""
    async with watching(lambda: pair, lambda: [path.read_text() for path in pair]) as seen:
        pair[0].write_text("two")
        pair[1].write_text("two")

        assert await seen.get() == ["two", "two"]
        await quiet(seen)


async def test_nothing_is_read_while_every_look_finds_the_files_changed(pair):
    """A slow copy is not read half: each look but the last finds a key that has grown."""
    looks = 0

    def files():
        nonlocal looks
        looks += 1
        if 1 < looks <= 6:
            pair[1].write_text("x" * looks)
        return pair

    async with watching(files, pair[1].read_text) as seen:
        assert await seen.get() == "x" * 6
        await quiet(seen)


async def test_what_cannot_be_used_is_told_once_with_its_cause(pair):
    """And the next change is tried again."""

    def read():
        if pair[0].read_text() == "broken":
            raise ConfigInvalid("tls.crt cannot be used: it is not a certificate")
        return "good"

    with structlog.testing.capture_logs() as logs:
        async with watching(lambda: pair, read) as seen:
            pair[0].write_text("broken")
            assert isinstance(await seen.get(), ConfigInvalid)
            await quiet(seen)
            pair[0].write_text("mended")
            assert await seen.get() == "good"
            await quiet(seen)

    errors = [line for line in logs if line["log_level"] == "error"]
    assert [(line["server"], line["reason"]) for line in errors] == [
        ("the server", "tls.crt cannot be used: it is not a certificate")
    ]


async def test_files_that_vanish_are_a_change_too(pair):
    """The server is told why it cannot read them, and keeps what it has."""

    def read():
        if not pair[0].exists():
            raise ConfigInvalid("tls.crt: No such file")
        return "back"

    async with watching(lambda: pair, read) as seen:
        pair[0].unlink()
        assert isinstance(await seen.get(), ConfigInvalid)
        pair[0].write_text("one")
        assert await seen.get() == "back"


async def test_a_machine_that_is_short_of_something_is_asked_again(pair):
    """The files are fine, so the next look tries them once more, without a change."""
    answers = iter([OSError(24, "Too many open files"), OSError(24, "Too many open files"), None])
    done = asyncio.Event()

    async def renew():
        answer = next(answers)
        if answer is not None:
            raise answer
        done.set()

    watch = CertificateWatch(QUICK)
    watch.add(Watched("the server", lambda: pair, renew))
    task = asyncio.create_task(watch.run())
    pair[0].write_text("two")
    async with asyncio.timeout(10):
        await done.wait()
    task.cancel()

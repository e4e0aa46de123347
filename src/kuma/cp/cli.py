"""The ``kuma-cp`` command."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from kuma.core.errors import ConfigInvalid, MeshError
from kuma.core.version import COMPATIBLE_VERSION, NAME, PRODUCT, VERSION

F = TypeVar("F", bound=Callable[..., Any])
_UNKNOWN: Final = "unknown"
_MANY_FILES: Final = 2**20

_LOG_DEFAULTS: Final[Mapping[str, Any]] = {
    "log_level": "info",
    "log_output_path": None,
    "log_max_size": 100,
    "log_max_retained_files": 1000,
    "log_max_age": 30,
}


def _log_flags(command: F) -> F:
    """Flags of the program; as in Kuma they may also stand after the command's name."""
    for flag, kind, words in reversed(
        (
            ("--log-level", click.Choice(["off", "info", "debug"]), "how much to log (info)"),
            ("--log-output-path", click.Path(path_type=Path), "write logs to this file, not to stderr"),
            ("--log-max-size", click.IntRange(1), "MB before a log rotates (100)"),
            ("--log-max-retained-files", click.IntRange(0), "rotated logs to keep (1000)"),
            ("--log-max-age", click.IntRange(1), "days to keep rotated logs (30)"),
        )
    ):
        command = click.option(flag, type=kind, default=None, help=words)(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@_log_flags
@click.pass_context
def root(context: click.Context, /, **log: Any) -> None:
    """The control plane of the mesh."""
    context.obj = log


@root.command()
@click.option("-c", "--config-file", type=click.Path(path_type=Path), help="settings (YAML or JSON)")
@_log_flags
@click.pass_context
def run(context: click.Context, /, config_file: Path | None, **log_flags: Any) -> None:
    """Run the control plane until SIGTERM."""
    import structlog

    from kuma.cp.certificates.machine import addresses
    from kuma.cp.config import autoconfigure, load
    from kuma.cp.logs import LogFile, configure
    from kuma.cp.server.diagnostics.levels import LogLevels

    given = {name: value for flags in (context.obj, log_flags) for name, value in flags.items() if value is not None}
    level, path, size, files, age = (given.get(name, default) for name, default in _LOG_DEFAULTS.items())
    levels = LogLevels()
    try:
        configure(level, levels, file=None if path is None else LogFile(path, size, files, age))
    except OSError as error:
        _fail(f"the log file {path} cannot be written: {error.strerror}")
    try:
        _check_built(config_file, os.environ)
        loaded = load(config_file, os.environ)
        outside = next((one for one in addresses() if not one.startswith("127.") and ":" not in one), None)
        config = autoconfigure(loaded.config, home=str(Path.home()), address=outside)
    except MeshError as error:
        _fail(str(error))
    for sentence in loaded.deprecations:
        click.echo(f"Deprecated: {sentence}")
    log = structlog.get_logger("kuma-cp")
    for sentence in loaded.warnings:
        log.warning(sentence)
    allow_many_files()
    _run(config, levels)


def _check_built(config_file: Path | None, environ: Mapping[str, str]) -> None:
    """
    Say that something is not built, before its other settings are found missing.

    Raises:
        ConfigInvalid: it is asked for, by file or environment, or these cannot be read.
    """
    from kuma.cp.config import given

    asked = given(config_file, environ)
    for key, variable, unbuilt, instead in (
        ("environment", "KUMA_ENVIRONMENT", ("kubernetes",), "universal"),
        ("store.type", "KUMA_STORE_TYPE", ("kubernetes", "postgres"), "sqlite or memory"),
    ):
        if asked.get(key) in unbuilt:
            raise ConfigInvalid(f"{key} {asked[key]} ({variable}) is not built yet in this version; use {instead}")


def allow_many_files() -> None:
    """Each proxy holds two connections; shells allow 1024 files by default, and more to whoever asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(config: object, levels: object) -> None:
    import structlog
    import uvloop

    # Read when Granian is loaded. A thousand connections leave a third of what they needed at first unused behind, and
    # its allocator keeps that for good where nothing is allocated any more.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,background_thread:true,dirty_decay_ms:200,muzzy_decay_ms:0")
    from kuma.cp.app import serve

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        signals = 0

        def stopping() -> None:
            nonlocal signals
            signals += 1
            stop.set()
            if signals > 1:
                # Asked twice: go now. Every acknowledged write is on disk already.
                os._exit(1)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping)
        await serve(config, levels, stop)  # type: ignore[arg-type]
        # All is closed and durable. A thread that still computes an answer nobody waits for must not hold the end.
        logging.shutdown()
        os._exit(0)

    try:
        uvloop.run(main())
    except MeshError as error:
        _fail(str(error))
    except BaseException as error:  # noqa: BLE001 - the program's last line: nobody above would explain it
        known = error.split(MeshError)[0] if isinstance(error, BaseExceptionGroup) else None
        if known is not None:
            _fail("; ".join(str(one) for one in _leaves(known)))
        structlog.get_logger("kuma-cp").exception("stopped by an unexpected failure")
        _fail(f"unexpected failure ({error!r}); this is a fault in kuma-cp, the log has the details")


def _leaves(group: BaseExceptionGroup[MeshError]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


@root.group()
def migrate() -> None:
    """Change the schema of the store."""


@migrate.command()
@click.option("-c", "--config-file", type=click.Path(path_type=Path), help="settings (YAML or JSON)")
def up(config_file: Path | None) -> None:
    """Bring the store's schema to this version."""
    from kuma.cp.config import load

    try:
        _check_built(config_file, os.environ)
        kind = load(config_file, os.environ).config.store.type
        if kind != "sqlite":
            raise ConfigInvalid(f"migrations are not supported for {kind.capitalize()} resource store")
    except MeshError as error:
        _fail(str(error))
    click.echo(f"DB has already been migrated for {PRODUCT} {COMPATIBLE_VERSION} (SQLite migrates itself at start)")


@root.group()
def secrets() -> None:
    """Secrets at rest."""


@secrets.command("rotate-key")
@click.option("-c", "--config-file", type=click.Path(path_type=Path), help="settings (YAML or JSON)")
@click.option("--new-key-file", type=click.Path(path_type=Path), help="the new key (32 bytes); made if it is not there")
def rotate_key(config_file: Path | None, new_key_file: Path | None) -> None:
    """
    Seal all secrets of the database with another key, while no control plane runs.

    The new key takes the place of the one in store.encryption.keyFile, unless --new-key-file names another file. Killed
    at any moment, it leaves a database that opens with the keys that are there; run it again to finish.
    """
    from kuma.cp.config import autoconfigure, load
    from kuma.cp.store import rotation

    try:
        store = autoconfigure(load(config_file, os.environ).config, home=str(Path.home()), address=None).store
        if store.type != "sqlite":
            raise ConfigInvalid(
                f"secrets are not encrypted here with store.type {store.type}; there is no key to change"
            )
        done = rotation.rotate_key(
            Path(store.sqlite.path),
            key_text=store.encryption.key,
            key_file=Path(store.encryption.key_file),
            new_key_file=new_key_file,
        )
    except MeshError as error:
        _fail(str(error))
    if done.former_id == done.key_id:
        click.echo(f"{store.sqlite.path} is sealed with the key in {done.key_file} already")
        return
    click.echo(
        f"{done.values} values in {store.sqlite.path} are sealed with key {done.key_id}, no longer {done.former_id}"
    )
    if done.former_file is None:
        click.echo(f"start kuma-cp with KUMA_STORE_ENCRYPTION_KEY_FILE={done.key_file}, or with its base64 as the key")
        return
    click.echo(f"the former key is in {done.former_file}: keep it with the backups made until now")


@root.command()
@click.option("-a", "--detailed", is_flag=True, help="print everything")
def version(*, detailed: bool) -> None:
    """Print the version."""
    if not detailed:
        click.echo(f"{PRODUCT}: {COMPATIBLE_VERSION}")
        return
    rows = {
        "Product": PRODUCT,
        "Version": COMPATIBLE_VERSION,
        "Git Tag": _UNKNOWN,
        "Git Commit": _UNKNOWN,
        "Build Date": _UNKNOWN,
        "Release": f"{NAME} {VERSION}",
    }
    for name, value in rows.items():
        click.echo(f"{name + ':':<15} {value}")


def _fail(text: str) -> NoReturn:
    click.echo(f"Error: {text}", err=True)
    sys.exit(1)


def main() -> None:
    """Entry point; wrong usage is one line and exit code 1, as of Kuma's programs."""
    try:
        code = root.main(prog_name="kuma-cp", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as wanted:
        click.echo(wanted.format_message())
        code = 0
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f'; see "{context.command_path} --help"' if context else ""
        _fail(f"{error.format_message().rstrip('.')}{hint}")
    except click.Abort:
        code = 130
    except OSError as error:
        click.echo(f"Error: cannot write the output: {error.strerror or error}", err=True)
        os._exit(1)  # what could not be written would be tried once more by an orderly exit
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()

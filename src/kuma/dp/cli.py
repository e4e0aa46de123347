"""The command line of kuma-dp.

Errors are one ``Error: …`` on stderr and exit code 1; no trace of the program's inside reaches a user who did not ask
for ``--log-level debug``. Imports stand inside the commands: ``--help`` and ``version`` load nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kuma.dp.options import OPTIONS, Option, Sort

F = TypeVar("F", bound=Callable[..., Any])
_LOG_DEFAULTS = {
    "log_level": "info",
    "log_output_path": "",
    "log_max_retained_files": 1000,
    "log_max_size": 100,
    "log_max_age": 30,
}


def _log_flags(command: F) -> F:
    """Flags of the program; as in Kuma they may also stand after the command's name."""
    for flag, kind, words in reversed(
        (
            ("--log-level", click.Choice(["off", "info", "debug"]), "how much to log (info)"),
            ("--log-output-path", str, "file to log to, instead of stderr"),
            ("--log-max-retained-files", click.IntRange(min=1), "old log files to keep (1000)"),
            ("--log-max-size", click.IntRange(min=1), "megabytes after which a new log file is begun (100)"),
            ("--log-max-age", click.IntRange(min=0), "days to keep old log files (30)"),
        )
    ):
        command = click.option(flag, type=kind, default=None, help=words)(command)
    return command


def _run_flags(command: F) -> F:
    for option in reversed(OPTIONS):
        if option.flags:
            command = click.option(*option.flags, option.name, **_click(option))(command)
    return command


def _click(option: Option) -> dict[str, Any]:
    words = option.help + (f" ({option.default})" if option.default else "")
    if option.env:
        words += f"  [{option.env}]"
    if option.sort in (Sort.PAIRS, Sort.LIST):
        return {"multiple": True, "help": words, "metavar": option.sort.value.upper(), "callback": _without_equals}
    if option.sort is Sort.BOOL:
        return {"is_flag": False, "flag_value": "true", "default": None, "help": words, "metavar": "[true|false]"}
    return {"default": None, "help": words, "metavar": option.sort.value.upper(), "callback": _without_equals}


def _without_equals(_: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """``-d=file``, which Kuma's tools accept, means ``-d file``."""
    if not any(len(flag) == 2 for flag in parameter.opts):
        return value
    if isinstance(value, tuple):
        return tuple(item.removeprefix("=") for item in value)
    return value.removeprefix("=") if value else value


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@_log_flags
@click.pass_context
def kuma_dp(context: click.Context, /, **log: Any) -> None:
    """Joins a mesh and keeps an Envoy running beside an application."""
    context.obj = log


@kuma_dp.command()
@_run_flags
@_log_flags
@click.pass_context
def run(context: click.Context, /, **given: Any) -> None:
    """
    Run the data plane proxy.

    A variable in brackets, when set, wins over the flag.
    """
    level = _configure_log(context, given)
    from kuma.dp.run import run as live
    from kuma.dp.settings import resolve

    context.exit(live(resolve(given, os.environ), level))


@kuma_dp.command()
@click.option("--url", default="http://localhost:9901/ready", show_default=True, help="where to ask")
@click.option("--unix-socket", default="", help="Unix socket to ask, instead of a port")
@click.option("--timeout", default="3m0s", show_default=True, help="how long to wait")
@click.option("--request-timeout", default="500ms", show_default=True, help="how long one request may take")
@click.option("--check-frequency", default="1s", show_default=True, help="pause between two requests")
@_log_flags
@click.pass_context
def wait(context: click.Context, /, **given: Any) -> None:
    """Wait until the data plane proxy is ready."""
    _configure_log(context, given)
    import asyncio

    from kuma.core.errors import ConfigInvalid
    from kuma.core.units import parse_duration
    from kuma.dp.wait import target
    from kuma.dp.wait import wait as until_ready

    durations = []
    for name in ("timeout", "request_timeout", "check_frequency"):
        try:
            durations.append(parse_duration(given[name]))
        except ValueError as error:
            raise ConfigInvalid(f"--{name.replace('_', '-')}: {error}") from error
    peer, path = target(given["url"], given["unix_socket"])
    asyncio.run(until_ready(peer, path, durations[0], durations[1], durations[2]))


@kuma_dp.command()
@click.option("-a", "--detailed", is_flag=True, help="print all that is known of this build")
@_log_flags
def version(detailed: bool, **_: Any) -> None:  # noqa: FBT001  # click calls it by name
    """Print the version."""
    from kuma.core.version import COMPATIBLE_VERSION, NAME, PRODUCT, VERSION

    if not detailed:
        click.echo(f"{PRODUCT}: {COMPATIBLE_VERSION}")
        return
    rows = {
        "Product": PRODUCT,
        "Version": COMPATIBLE_VERSION,
        "Git Tag": "unknown",
        "Git Commit": "unknown",
        "Build Date": "unknown",
        "Implementation": f"{NAME} {VERSION}",
    }
    for name, value in rows.items():
        click.echo(f"{name + ':':<16}{value}")


def _configure_log(context: click.Context, given: dict[str, Any]) -> str:
    """Flags after the command's name win over those before it; the level, for Envoy."""
    from kuma.dp.log import LogSettings, configure

    before = context.obj or {}
    chosen: dict[str, Any] = {}
    for name, default in _LOG_DEFAULTS.items():
        after = given.pop(name)
        chosen[name.removeprefix("log_")] = next((x for x in (after, before.get(name)) if x is not None), default)
    chosen["path"] = chosen.pop("output_path")
    context.obj = chosen
    configure(LogSettings(**chosen))
    return str(chosen["level"])


def main() -> None:
    """Entry point: every outcome is an exit code."""
    sys.exit(_outcome())


def _outcome() -> int:
    try:
        code = kuma_dp.main(prog_name="kuma-dp", standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"Error: {error.format_message()}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BaseExceptionGroup as group:
        return _failed(_first(group))
    except Exception as error:  # noqa: BLE001  # the last line of defence
        return _failed(error)
    return code if isinstance(code, int) else 0


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _failed(error: BaseException) -> int:
    import logging

    from kuma.core.errors import MeshError

    if isinstance(error, MeshError):
        click.echo(f"Error: {error}", err=True)
        return 1
    click.echo(
        f"Error: unexpected {type(error).__name__}: {error} (a fault of kuma-dp; --log-level debug shows where)",
        err=True,
    )
    logging.getLogger("kuma.dp").debug("where it happened:", exc_info=error)
    return 1


if __name__ == "__main__":
    main()

"""The ``kuma-demo`` command.

An error is one or two sentences and the last lines of the log concerned, on stderr, exit code 1. With ``--duration``
the exit code is 0 only when traffic flowed and no call failed. Ctrl-C and SIGTERM leave nothing behind.
"""

from __future__ import annotations

import sys
from datetime import timedelta

import click


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        from kuma.core.units import parse_duration

        try:
            duration = parse_duration(str(value))
        except ValueError as error:
            self.fail(f"{error}; write for example 60s or 5m", param, ctx)
        if duration <= timedelta(0):
            self.fail("it must be longer than nothing, for example 60s", param, ctx)
        return duration


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--duration", type=_Duration(), help="End after this time, e.g. 60s; by default Ctrl-C ends the demo.")
@click.option("--keep", is_flag=True, help="Leave the temporary directory with all files and logs.")
@click.option("--plain", is_flag=True, help="Plain lines, also on a terminal.")
def kuma_demo(duration: timedelta | None, *, keep: bool, plain: bool) -> int:
    """
    Run a whole mesh on this machine.

    A control plane, a web front end, two instances of an API, a key-value store, one Envoy for each, mutual TLS and
    a little traffic. No root, no containers; everything is in a temporary directory and gone at the end.
    """
    import asyncio
    import os
    import time

    from kuma.demo.run import Options, run
    from kuma.demo.screen import screen_for

    begun = time.monotonic()
    screen = screen_for(sys.stdout, os.environ, plain=plain)
    try:
        return asyncio.run(run(Options(duration, keep), screen, os.environ, time.monotonic, begun))
    finally:
        screen.close()


def main() -> None:
    """Entry point: every outcome is an exit code."""
    sys.exit(_outcome())


def _outcome() -> int:
    from kuma.core.errors import MeshError

    try:
        code = kuma_demo.main(prog_name="kuma-demo", standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"Error: {error.format_message()}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return 141
    except BaseExceptionGroup as group:
        return _failed(_first(group))
    except (MeshError, OSError) as error:
        return _failed(error)
    return code if isinstance(code, int) else 0


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _failed(error: BaseException) -> int:
    from kuma.core.errors import MeshError

    if isinstance(error, MeshError):
        click.echo(f"Error: {error}", err=True)
    else:
        click.echo(f"Error: unexpected {type(error).__name__}: {error} (a fault of kuma-demo)", err=True)
    return 1


if __name__ == "__main__":
    main()

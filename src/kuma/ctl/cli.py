"""``kumactl``: the entry point, the flags that hold everywhere, and how every failure is shown.

Promises: an error is one sentence on stderr beginning ``Error:`` and exit code 1, never a traceback; a closed pipe
is quiet; Ctrl-C exits 130 quietly. Verbs are imported when used, so that ``--help`` and small commands start fast.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from kuma.core.errors import MeshError
from kuma.ctl.flags import GoDuration, Group, shared

_INTERRUPTED: Final = 130
_CLOSED_PIPE: Final = 141
_VERBS: Final = "kuma.ctl.verbs"


class _Root(Group):
    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> NoReturn:
        # What click needs for itself; how a run ends is ours.
        extra["standalone_mode"] = False
        extra["prog_name"] = "kumactl"
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal that cannot show a character gets its number, not a failure.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            code = self._run(args, extra)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            _discard_stdout()
            code = _CLOSED_PIPE
        except OSError as error:
            code = _fail(f"cannot write the output: {error.strerror or error}")
            _discard_stdout()
        sys.exit(code)

    def _run(self, args: Sequence[str] | None, extra: dict[str, Any]) -> int:
        try:
            code = super().main(args, **extra)
        except click.exceptions.NoArgsIsHelpError as help_wanted:
            click.echo(help_wanted.format_message())
            return 0
        except click.ClickException as error:
            return _fail(_usage_problem(error))
        except MeshError as error:
            return _fail(str(error))
        except (click.Abort, KeyboardInterrupt):
            return _INTERRUPTED
        except OSError:
            raise
        except UnicodeError:
            return _fail("an argument is not UTF-8 text; check what was typed or pasted")
        except Exception as error:  # noqa: BLE001 - the last line before a traceback
            return _fail(f"kumactl failed unexpectedly ({type(error).__name__}); please report this with the command")
        return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    click.echo(f"Error: {message}", err=True)
    return 1


def _usage_problem(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    text = error.format_message()
    if isinstance(error, click.MissingParameter) and error.param is not None:
        if isinstance(error.param, click.Option):
            text = f'required flag(s) "{_flag(error.param).lstrip("-")}" not set'
        else:
            text = f"the argument {error.param.make_metavar(context or click.Context(root))} is missing"
    elif isinstance(error, click.NoSuchOption):
        close = f"; did you mean {' or '.join(error.possibilities)}?" if error.possibilities else ""
        text = f"unknown flag: {error.option_name}{close}"
    elif isinstance(error, click.BadParameter) and isinstance(error.param, click.Option):
        text = f"{_flag(error.param)}: {error.message}"
    if context is None:
        return text
    return f'{text.rstrip(".")}; see "{context.command_path} --help"'


def _flag(option: click.Option) -> str:
    """What the help calls it: of several names the first long one."""
    return next((name for name in option.opts if name.startswith("--")), option.opts[-1])


def _discard_stdout() -> None:
    """Python flushes stdout once more when it exits; let that succeed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


root = _Root(
    "kumactl",
    help="Management tool for Kuma.",
    late={
        "apply": (f"{_VERBS}.apply", "apply", "Create or change resources."),
        "completion": (f"{_VERBS}.completion", "completion", "Print a shell completion script."),
        "config": (f"{_VERBS}.config", "config", "Manage kumactl's own configuration."),
        "delete": (f"{_VERBS}.delete", "delete", "Delete a resource."),
        "generate": (f"{_VERBS}.generate", "generate", "Generate tokens, keys and certificates."),
        "get": (f"{_VERBS}.get", "get", "Show resources."),
        "history": (f"{_VERBS}.history", "history", "Show who changed what, and how it was."),
        "inspect": (f"{_VERBS}.inspect", "inspect", "Inspect what the mesh is doing."),
        "rollback": (f"{_VERBS}.rollback", "rollback", "Bring resources back to an earlier revision."),
        "version": (f"{_VERBS}.version", "version", "Print the version of client and control plane."),
    },
    everywhere=[
        shared("--config-file", metavar="PATH", help="Configuration file to use (default ~/.kumactl/config)."),
        shared("--context", metavar="NAME", help="Control plane to use instead of the current one."),
        shared(
            "--log-level",
            type=click.Choice(("off", "info", "debug")),
            help="Anything but off prints each request on stderr (default off).",
        ),
        shared("--no-config", is_flag=True, help="Use the built-in configuration and write none."),
        shared("--api-timeout", type=GoDuration(), help="Limit for a whole API call; 0 is none (default 1m0s)."),
    ],
)


@root.command("help", short_help="Show the help of a command.")
@click.argument("command", nargs=-1)
@click.pass_context
def show_help(ctx: click.Context, command: tuple[str, ...]) -> None:
    """Show the help of a command."""
    context: click.Context = ctx.find_root()
    for name in command:
        group = context.command
        found = group.get_command(context, name) if isinstance(group, click.Group) else None
        if found is None:
            raise click.UsageError(f'unknown help topic "{" ".join(command)}"', context)
        context = click.Context(found, info_name=name, parent=context)
    click.echo(context.get_help())


def main() -> NoReturn:
    """The console script."""
    root.main()


if __name__ == "__main__":
    main()

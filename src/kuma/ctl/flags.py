"""Flags that may stand before or after a sub-command, groups that load their commands late, and list flags.

Kuma's command line accepts a parent's flags anywhere behind the parent: ``kumactl get meshes -o yaml`` and
``kumactl get -o yaml meshes`` are one command. click binds a flag to one level, so here each command also offers
the flags of the groups above it, and what was given lands in the session, the last one winning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import click
from click.core import ParameterSource

from kuma.core.errors import BadRequest
from kuma.ctl.session import Session

FORMATS: Final = ("table", "yaml", "json")
HELP_NAMES: Final[Mapping[str, Any]] = {"help_option_names": ["-h", "--help"]}


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    session = ctx.ensure_object(Session)
    if ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
        session.flags[param.name] = value
    return value


def shared(*names: str, **attributes: Any) -> click.Option:
    """A flag for a group and everything below it."""
    return click.Option(names, expose_value=False, callback=_remember, **attributes)


class GoDuration(click.ParamType[float]):
    """A Go duration such as ``1h30m``, kept in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        from kuma.core.units import parse_duration

        try:
            seconds = parse_duration(value).total_seconds()
        except ValueError as error:
            self.fail(f"{error}; write it like 24h, 30m or 10s", param, ctx)
        if seconds < 0:
            self.fail("must not be negative", param, ctx)
        return seconds


class WholeNumber(click.IntRange):
    """A number in a range; click would call what is none an "integer range"."""

    name = "whole number"


class _Output(click.ParamType[str]):
    name = "table|yaml|json"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,  # noqa: ARG002 - click's signature
    ) -> str:
        if value not in FORMATS:
            raise BadRequest(f'unknown output format "{value}"; use one of {", ".join(FORMATS)}')
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        return click.Choice(FORMATS).shell_complete(ctx, param, incomplete)


def output_flag() -> click.Option:
    return shared("-o", "--output", type=_Output(), help="Output format (default table).")


def mesh_flag() -> click.Option:
    return shared("-m", "--mesh", metavar="NAME", help='Mesh to use (default "default").')


class Command(click.Command):
    """A command that also takes the flags of the groups above it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = {**HELP_NAMES, **kwargs.get("context_settings", {})}
        super().__init__(*args, **kwargs)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *_inherited(self, ctx)]


class Group(click.Group):
    """
    A group whose flags hold for everything below it.

    ``late`` maps a command to its module, attribute and one line of help: ``--help`` imports none of them.
    """

    command_class = Command

    def __init__(
        self,
        *args: Any,
        late: Mapping[str, tuple[str, str, str]] | None = None,
        everywhere: Sequence[click.Option] = (),
        **kwargs: Any,
    ) -> None:
        kwargs["context_settings"] = {**HELP_NAMES, **kwargs.get("context_settings", {})}
        super().__init__(*args, **kwargs)
        self.late = dict(late or {})
        self.everywhere = list(everywhere)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *self.everywhere, *_inherited(self, ctx)]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.late})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.late:
            module, attribute, _ = self.late[cmd_name]
            command = getattr(import_module(module), attribute)
            if not isinstance(command, click.Command):
                raise TypeError(f"{module}.{attribute} is not a command")
            return command
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = []
        for name in self.list_commands(ctx):
            if name in self.late:
                lines.append((name, self.late[name][2]))
                continue
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                lines.append((name, command.get_short_help_str(80)))
        if lines:
            with formatter.section("Commands"):
                formatter.write_dl(lines)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing:
            if name.startswith("-"):
                raise click.NoSuchOption(name, ctx=ctx)
            raise click.UsageError(_unknown_command(name, ctx.command_path, self.list_commands(ctx)), ctx)
        return name if command else None, command, args[1:]


Group.group_class = Group


def _unknown_command(name: str, path: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f'unknown command "{name}" for "{path}"{hint}'


def _inherited(command: click.Command, ctx: click.Context) -> list[click.Parameter]:
    """The flags of the groups above; a nearer flag hides a farther one of the same name."""
    own = {param.name for param in command.params}
    if isinstance(command, Group):
        own |= {option.name for option in command.everywhere}
    found: list[click.Parameter] = []
    above = ctx.parent
    while above is not None:
        if isinstance(above.command, Group):
            fresh = [option for option in above.command.everywhere if option.name not in own]
            found.extend(fresh)
            own.update(option.name for option in fresh)
        above = above.parent
    return found


def split_list(_: click.Context, __: click.Parameter, value: Sequence[str]) -> tuple[str, ...]:
    """For a flag that takes ``a,b`` and may be repeated."""
    return tuple(part for text in value for part in _comma_separated(text))


def split_pairs(_: click.Context, param: click.Parameter, value: Sequence[str]) -> dict[str, str]:
    """For a flag that takes ``k=v`` or ``k=v,k2=v2`` and may be repeated; with one ``=`` commas belong to the value."""
    pairs: dict[str, str] = {}
    for text in value:
        for part in [text] if text.count("=") == 1 else _comma_separated(text):
            key, separator, content = part.partition("=")
            if not separator or not key:
                flag = param.opts[-1]
                raise click.BadParameter(f"must be formatted as key=value: {flag} key=value", param=param)
            pairs[key] = content
    return pairs


def _comma_separated(text: str) -> list[str]:
    import csv

    return next(csv.reader([text]), [])


def pairs_option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """A repeatable ``k=v`` flag as a mapping."""
    return click.option(*names, multiple=True, callback=split_pairs, metavar="KEY=VALUE", **attributes)


def list_option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """A repeatable, comma-separated flag as a tuple."""
    return click.option(*names, multiple=True, callback=split_list, **attributes)

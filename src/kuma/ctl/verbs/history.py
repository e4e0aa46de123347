"""``kumactl history``: who changed what and when, and what it looked like before and after."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from kuma.core.errors import BadRequest, MeshError, NotFound
from kuma.ctl.client import Client, Query, api_path, printable
from kuma.ctl.errors import CommandFailed
from kuma.ctl.flags import Group, output_flag, shared
from kuma.ctl.kinds import kind_called, text_of
from kuma.ctl.output import age, mappings, parse_time, print_json, print_table, print_yaml
from kuma.ctl.session import Session, session

_COLUMNS: Final = ("REVISION", "TIME", "AGE", "USER", "ADDRESS", "ACTION", "KIND", "MESH", "NAME")
_TOKENS: Final = ("DataplaneToken", "UserToken", "ZoneToken")
"""What the change log calls tokens that were issued."""

_NO_SUCH_PAGE: Final = "404: Page Not Found"
_NOW: Final = "now"
_DAYS: Final = re.compile(r"([0-9]{1,6})d")


def not_found(error: NotFound) -> str:
    """What a 404 of the history means."""
    return "this control plane keeps no history" if _NO_SUCH_PAGE in str(error) else str(error)


class Moment(click.ParamType[datetime]):
    """A time, or how long ago it was."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        from kuma.core.units import parse_duration

        now = (ctx.ensure_object(Session) if ctx else Session()).now()
        moment: datetime | None
        try:
            days = _DAYS.fullmatch(value)
            moment = now - (timedelta(days=int(days[1])) if days else parse_duration(value))
        except (ValueError, OverflowError):
            moment = parse_time(value)
        if moment is None or moment > now:
            self.fail("write it like 2h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z", param, ctx)
        return moment


class Revision(click.ParamType[str]):
    """The number of a store revision; ``now`` too, where that makes sense."""

    name = "revision"

    def __init__(self, *, or_now: bool = False) -> None:
        self._or_now = or_now

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,
    ) -> str:
        text = str(value)
        if not (text.isascii() and text.isdecimal()) and not (self._or_now and text == _NOW):
            raise BadRequest(
                f'"{text}" is not a revision: take a number from "kumactl history"'
                f'{" or now" if self._or_now else ""}; see "{ctx.command_path if ctx else "kumactl"} --help"'
            )
        return text


@click.group(
    "history",
    cls=Group,
    invoke_without_command=True,
    everywhere=[
        output_flag(),
        shared("-m", "--mesh", metavar="NAME", help="Only what is in this mesh, and the Mesh itself."),
        shared("--kind", "--type", metavar="TYPE", help="Only this type, such as meshtimeout or UserToken."),
        shared("--name", metavar="NAME", help="Only resources of this name."),
        shared("--all", is_flag=True, help="Also what the control plane and proxies wrote."),
    ],
)
@click.option("--user", metavar="NAME", help="Only what this user did.")
@click.option("--since", type=Moment(), metavar="TIME", help="Only from then on: 2h, 7d or 2026-01-31T12:00:00Z (UTC).")
@click.option("--limit", "--size", type=click.IntRange(1, 1000), default=50, help="Most entries to show (default 50).")
@click.option("--offset", type=click.IntRange(0), default=0, help="Where to go on, as the last page said.")
@click.pass_context
def history(ctx: click.Context, user: str | None, since: datetime | None, limit: int, offset: int) -> None:
    """Show who changed what, newest first: resources, and tokens that were issued."""
    if ctx.invoked_subcommand is None:
        _list(user, since, limit, offset)


def _list(user: str | None, since: datetime | None, limit: int, offset: int) -> None:
    here = session()
    query = [*_filters(here), ("size", str(limit)), ("offset", str(offset))]
    query += [("user", user)] if user else []
    query += [("since", since.astimezone(UTC).isoformat())] if since else []
    answer = _asked(here.client(), api_path("_changes"), query, "failed to list the history")
    if here.output == "json":
        print_json(answer)
    elif here.output == "yaml":
        print_yaml(answer)
    else:
        rows = [_row(entry, here.now()) for entry in mappings(answer.get("items"))]
        more = f"Rerun command with --offset={offset + limit} argument to retrieve more entries"
        print_table(_COLUMNS, rows, more if answer.get("next") else "")
        if not rows and not here.flags.get("all"):
            click.echo("No entries; with --all also those of the control plane and proxies", err=True)


@history.command("diff")
@click.argument("revision", metavar="REVISION", type=Revision())
@click.argument("other", metavar="[REVISION2]", type=Revision(or_now=True), required=False)
def diff(revision: str, other: str | None) -> None:
    """
    Show what REVISION changed, or what is different between two revisions.

    REVISION2 may be "now". The state of a revision is that right after it.
    """
    here = session()
    if other is None:
        _show_one(here, revision)
    else:
        _show_between(here, revision, other)


def _show_one(here: Session, revision: str) -> None:
    from kuma.ctl.difference import print_differences, title

    answer = _asked(here.client(), api_path("_changes", revision), (), f"failed to show revision {revision}")
    if _printed(here, answer):
        return
    who = " from ".join(filter(None, (text_of(answer, "user"), text_of(answer, "address"))))
    what = f"{text_of(answer, 'action')} {title(answer)} by {who} at {text_of(answer, 'time')}"
    click.echo(printable(f"revision {revision}: {what}"))
    if "token" in answer:
        print_yaml(answer["token"])
    else:
        print_differences([answer], "before", "after")


def _show_between(here: Session, earlier: str, later: str) -> None:
    from kuma.ctl.difference import print_differences

    query = [*_filters(here), ("from", earlier)]
    query += [("to", later)] if later != _NOW else []
    answer = _asked(here.client(), api_path("_changes", "difference"), query, "failed to compare the revisions")
    if _printed(here, answer):
        return
    label = _NOW if later == _NOW else f"revision {later}"
    if not print_differences(answer.get("changes"), f"revision {earlier}", label):
        click.echo(f"Nothing differs between revision {earlier} and {label}", err=True)


def _printed(here: Session, answer: Mapping[str, Any]) -> bool:
    """Whether the answer was asked for as data; then it has been printed."""
    if here.output == "json":
        print_json(answer)
    elif here.output == "yaml":
        print_yaml(answer)
    return here.output != "table"


def _filters(here: Session) -> list[tuple[str, str]]:
    kind = here.flags.get("kind")
    given = {"mesh": here.flags.get("mesh"), "type": kind and _type(kind), "name": here.flags.get("name")}
    found = [(key, str(value)) for key, value in given.items() if value]
    return [*found, ("all", "true")] if here.flags.get("all") else found


def _type(word: str) -> str:
    token = next((token for token in _TOKENS if token.lower() == word.lower().replace("-", "")), None)
    if token:
        return token
    kind = kind_called(word)
    if kind is None:
        raise BadRequest(f'unknown type "{word}"; use one such as mesh, meshtimeout, secret or {", ".join(_TOKENS)}')
    return kind.name


def _asked(client: Client, path: str, query: Query, failed: str) -> dict[str, Any]:
    try:
        return client.get(path, query).object()
    except NotFound as error:
        raise CommandFailed(f"{failed}: {not_found(error)}") from None
    except MeshError as error:
        raise CommandFailed(f"{failed}: {error}") from None


def _row(entry: Mapping[str, Any], now: datetime) -> list[str]:
    time = parse_time(entry.get("time"))
    return [
        str(entry.get("revision", "")),
        time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else "-",
        age(entry.get("time"), now),
        *(text_of(entry, field) or "-" for field in ("user", "address", "action", "type", "mesh", "name")),
    ]

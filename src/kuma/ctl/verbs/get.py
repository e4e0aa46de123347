"""``kumactl get``: one resource or a list, as a table, YAML or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import click

from kuma.core.errors import MeshError, NotFound
from kuma.core.model.kinds import Form, Kind, Scope
from kuma.ctl.errors import CommandFailed
from kuma.ctl.flags import Command, Group, WholeNumber, mesh_flag, output_flag
from kuma.ctl.kinds import MANY, ON_COMMAND_LINE, ONE, collection_path, item_path, text_of, words
from kuma.ctl.output import age, mapping, mappings, print_json, print_table, print_yaml, tags_text
from kuma.ctl.session import session

_META: Final = ("creationTime", "kri", "labels", "mesh", "modificationTime", "name", "type")

Column = tuple[str, Callable[[Mapping[str, Any]], str]]


def _switch(value: object) -> str:
    return "on" if value else "off"


def _mtls(item: Mapping[str, Any]) -> str:
    mtls = mapping(item.get("mtls"))
    enabled = text_of(mtls, "enabledBackend")
    backends = {text_of(backend, "name"): text_of(backend, "type") for backend in mappings(mtls.get("backends"))}
    return f"{backends[enabled]}/{enabled}" if enabled in backends else "off"


def _address(item: Mapping[str, Any]) -> str:
    networking = mapping(item.get("networking"))
    return text_of(networking, "advertisedAddress") or text_of(networking, "address")


_MORE_COLUMNS: Final[Mapping[str, Sequence[Column]]] = {
    "Mesh": (
        ("mTLS", _mtls),
        ("LOCALITY", lambda item: _switch(mapping(item.get("routing")).get("localityAwareLoadBalancing"))),
        ("ZONEEGRESS", lambda item: _switch(mapping(item.get("routing")).get("zoneEgress"))),
    ),
    "Dataplane": (("TAGS", tags_text), ("ADDRESS", _address)),
}


def _table(kind: Kind, items: Sequence[Mapping[str, Any]], now: datetime, footer: str = "") -> None:
    columns: list[Column] = [("MESH", lambda item: text_of(item, "mesh"))] if kind.scope is Scope.MESH else []
    columns.append(("NAME", lambda item: text_of(item, "name")))
    columns.extend(_MORE_COLUMNS.get(kind.name, ()))
    columns.append(("AGE", lambda item: age(item.get("modificationTime"), now)))
    rows = [[value(item) for _, value in columns] for item in items]
    print_table([title for title, _ in columns], rows, footer)


def _as_yaml(kind: Kind, item: Mapping[str, Any]) -> None:
    """A legacy resource shows its metadata before its fields, as Kuma does."""
    if kind.form is Form.PLUGIN:
        print_yaml(item)
        return
    from kuma.core.model.text import dump_yaml

    head = {key: item[key] for key in _META if key in item}
    rest = {key: value for key, value in item.items() if key not in head}
    click.echo(dump_yaml(head) + (dump_yaml(rest) if rest else ""), nl=False)


def _show_one(kind: Kind, name: str) -> None:
    here = session()
    try:
        item = here.client().get(item_path(kind, here.mesh, name)).object()
    except NotFound:
        where = f" in {here.mesh} mesh" if kind.scope is Scope.MESH else ""
        raise CommandFailed(f"No resources found{where}") from None
    except MeshError as error:
        raise CommandFailed(f'failed to get {kind.name} "{name}": {error}') from None
    if here.output == "json":
        print_json(item)
    elif here.output == "yaml":
        _as_yaml(kind, item)
    else:
        _table(kind, [item], here.now())


def _show_many(kind: Kind, size: int | None, offset: str | None) -> None:
    here = session()
    query = [(key, str(value)) for key, value in (("size", size), ("offset", offset)) if value is not None]
    try:
        answer = here.client().get(collection_path(kind, here.mesh), query).object()
    except MeshError as error:
        raise CommandFailed(f"failed to list {kind.name}: {error}") from None
    if here.output == "json":
        print_json(answer)
    elif here.output == "yaml":
        print_yaml(answer)
    else:
        _table(kind, mappings(answer.get("items")), here.now(), _footer(answer))


def _footer(answer: Mapping[str, Any]) -> str:
    try:
        offset = parse_qs(urlsplit(text_of(answer, "next")).query).get("offset")
    except ValueError:
        return ""
    return f"Rerun command with --offset={offset[0]} argument to retrieve more resources" if offset else ""


class _Get(Group):
    """One sub-command for each word of each kind."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(word for kind in ON_COMMAND_LINE for word in kind.words)

    def get_command(  # click's signature
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        if (many := MANY.get(cmd_name)) is not None:
            return _list_command(many, cmd_name)
        one = ONE.get(cmd_name)
        return _one_command(one, cmd_name) if one is not None and one.on_command_line else None


def _list_command(kind: Kind, word: str) -> click.Command:
    return Command(
        word,
        callback=lambda size, offset: _show_many(kind, size, offset),
        help=f"Show {kind.plural_display_name}.",
        params=[
            click.Option(["--size"], type=WholeNumber(1), help="Largest number of resources to show."),
            click.Option(["--offset"], help="Where to go on, as the last page said."),
        ],
        hidden=word not in kind.words,
    )


def _one_command(kind: Kind, word: str) -> click.Command:
    return Command(
        word,
        callback=lambda name: _show_one(kind, name),
        help=f"Show one {kind.singular_display_name}.",
        params=[click.Argument(["name"])],
        hidden=word not in words(kind)[0][:1],
    )


get = _Get("get", help="Show resources.", everywhere=[output_flag(), mesh_flag()])

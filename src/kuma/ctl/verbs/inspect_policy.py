"""``kumactl inspect meshtimeout NAME`` and so on: which proxies a policy selects, and which of them refuse it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from kuma.core.errors import MeshError, NotFound
from kuma.core.model.kinds import KINDS, Kind
from kuma.ctl.client import api_path, printable
from kuma.ctl.errors import CommandFailed
from kuma.ctl.flags import Command
from kuma.ctl.kinds import item_path, text_of
from kuma.ctl.output import mapping, mappings, print_json, print_table, print_yaml
from kuma.ctl.session import session


def policy_commands() -> Iterator[click.Command]:
    """A command for each kind that can be inspected."""
    return (_command(kind) for kind in KINDS if kind.inspectable)


def _command(kind: Kind) -> click.Command:
    def inspect(*, name: str, offset: int | None, new_api: bool) -> None:
        _inspect(kind, name, offset, new_api=new_api)

    return Command(
        kind.one,
        callback=inspect,
        help=f"Show the data plane proxies that a {kind.name} selects, and those that refuse what comes of it.",
        short_help=f"Show the proxies of a {kind.name}.",
        params=[
            click.Argument(["name"]),
            click.Option(["--offset"], type=click.IntRange(0), help="With --new-api: the number of proxies to skip."),
            click.Option(["--new-api"], is_flag=True, help="As a table, in pages."),
        ],
    )


def _inspect(kind: Kind, name: str, offset: int | None, *, new_api: bool) -> None:
    here = session()
    if offset is not None and not new_api:
        raise click.UsageError("--offset needs --new-api", click.get_current_context())
    path = f"{item_path(kind, here.mesh, name)}{'/_resources' if new_api else ''}{api_path('dataplanes')}"
    try:
        answer = here.client().get(path, [] if offset is None else [("offset", str(offset))]).object()
    except NotFound as error:
        raise CommandFailed(
            f'there is no {kind.name} "{name}" in mesh "{here.mesh}": {error}; '
            f'see "kumactl get {kind.words[1]} --mesh {here.mesh}"'
        ) from None
    except MeshError as error:
        raise CommandFailed(f'failed to inspect {kind.name} "{name}" in mesh "{here.mesh}": {error}') from None
    if here.output == "json":
        print_json(answer)
    elif here.output == "yaml":
        print_yaml(answer)
    elif new_api:
        items = mappings(answer.get("items"))
        print_table(
            ("TYPE", "MESH", "NAME"), [[text_of(one, key) for key in ("type", "mesh", "name")] for one in items]
        )
        click.echo(f"\nTotal: {answer.get('total', 0)}")
        for item in items:
            _print_refusals(text_of(item, "name"), item)
        _print_doubt(answer)
    else:
        _print_affected(answer)
        _print_doubt(answer)


def _print_affected(answer: Mapping[str, Any]) -> None:
    click.echo("Affected data plane proxies:\n")
    for item in mappings(answer.get("items")):
        name = text_of(mapping(item.get("dataplane")), "name")
        click.echo(printable(f"  {name}"))
        _print_refusals("", item)


def _print_doubt(answer: Mapping[str, Any]) -> None:
    """Which policy a refused configuration came of is not known; those that cannot be applied are named."""
    refusals = (refusal for item in mappings(answer.get("items")) for refusal in mappings(item.get("refusals")))
    if any(text_of(refusal, "type") for refusal in refusals):
        click.echo("\nEnvoy does not say which policy it refuses: it may be another one of the same proxy.")


def _print_refusals(name: str, item: Mapping[str, Any]) -> None:
    """What the proxy does not take; it keeps its last configuration."""
    for refusal in mappings(item.get("refusals")):
        what = text_of(refusal, "type")
        reason = text_of(refusal, "message").rstrip()  # Envoy ends some of its texts with a line break
        who = f"{name} " if name else "    "
        said = f"refused {what}: {reason}" if what else f"no configuration can be made: {reason}"
        click.echo(printable(f"{who}keeps its last configuration; {said}"))

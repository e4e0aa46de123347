"""``kumactl delete``: remove one resource."""

from __future__ import annotations

import click

from kuma.core.errors import BadRequest, MeshError, NotFound
from kuma.core.model.kinds import Kind
from kuma.ctl.errors import CommandFailed
from kuma.ctl.flags import Command, mesh_flag
from kuma.ctl.kinds import ON_COMMAND_LINE, ONE, item_path
from kuma.ctl.session import session


def _kind(word: str) -> Kind:
    kind = ONE.get(word)
    if kind is not None and kind.read_only:
        raise BadRequest(f"TYPE: {word} is readOnly, can't use it for write action")
    if kind is None or not kind.on_command_line:
        allowed = sorted(kind.words[0] for kind in ON_COMMAND_LINE if not kind.read_only)
        raise BadRequest(f"unknown TYPE: {word}. Allowed values: {', '.join(allowed)}")
    return kind


@click.command("delete", cls=Command, short_help="Delete a resource.")
@click.argument("kind_word", metavar="TYPE")
@click.argument("name", metavar="NAME")
def delete(kind_word: str, name: str) -> None:
    """Delete the resource NAME of a TYPE such as mesh, dataplane or meshtimeout."""
    kind = _kind(kind_word)
    here = session()
    try:
        here.client().delete(item_path(kind, here.mesh, name))
    except NotFound:
        raise CommandFailed(f'there is no {kind.name} with name "{name}"') from None
    except MeshError as error:
        raise CommandFailed(f'failed to delete {kind.name} with the name "{name}": {error}') from None
    click.echo(f'deleted {kind.name} "{name}"')


delete.params.append(mesh_flag())

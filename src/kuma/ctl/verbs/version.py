"""``kumactl version``: what the client is, and what the control plane says it is."""

from __future__ import annotations

import json

import click

from kuma.core.errors import MeshError
from kuma.core.version import COMPATIBLE_VERSION, NAME, PRODUCT, VERSION
from kuma.ctl.client import printable
from kuma.ctl.flags import Command
from kuma.ctl.session import session

_UNKNOWN = "unknown"


@click.command("version", cls=Command, short_help="Print the version of client and control plane.")
@click.option("-a", "--detailed", is_flag=True, help="Print all that is known.")
def version(*, detailed: bool) -> None:
    """
    Print the version of client and control plane.

    The version is that of the Kuma release this product is compatible with; with -a also our own.
    """
    if detailed:
        for title, value in (
            ("Product:", PRODUCT),
            ("Version:", COMPATIBLE_VERSION),
            ("Git Tag:", _UNKNOWN),
            ("Git Commit:", _UNKNOWN),
            ("Build Date:", _UNKNOWN),
            ("Release:", f"{NAME} {VERSION}"),
        ):
            click.echo(f"{title:<15}{value}")
    else:
        click.echo(f"Client: {PRODUCT} {COMPATIBLE_VERSION}")
    here = session()
    try:
        index = here.client_for(here.control_plane()).get("/").object()
    except MeshError as error:
        click.echo(f"Unable to connect to control plane: {error}", err=True)
        return
    if detailed:
        click.echo(f"Server: {printable(json.dumps(index, indent=3, ensure_ascii=False))}")
    else:
        click.echo(printable(f"Server: {index.get('product', _UNKNOWN)} {index.get('version', _UNKNOWN)}"))

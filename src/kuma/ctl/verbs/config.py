"""``kumactl config``: which control planes there are and which one is used."""

from __future__ import annotations

import click

from kuma.core.errors import BadRequest, MeshError
from kuma.core.model.text import dump_yaml
from kuma.core.version import PRODUCT
from kuma.ctl.client import printable, split_address
from kuma.ctl.errors import CommandFailed, Unreachable
from kuma.ctl.flags import Group, pairs_option
from kuma.ctl.output import print_table
from kuma.ctl.session import session
from kuma.ctl.settings import TOKENS, ControlPlane, to_data

_name_option = click.option("--name", required=True, help="Reference name of the control plane.")


@click.group("config", cls=Group)
def config() -> None:
    """Manage kumactl's own configuration."""


@config.command("view")
def view() -> None:
    """Show the configuration file."""
    click.echo(dump_yaml(to_data(session().settings())))


@config.group("control-planes")
def control_planes() -> None:
    """Manage known control planes."""


@control_planes.command("list")
def list_known() -> None:
    """List known control planes."""
    settings = session().settings()
    active = settings.active()
    rows = [("*" if cp is active else "", cp.name, cp.url) for cp in settings.control_planes]
    print_table(("ACTIVE", "NAME", "ADDRESS"), rows)


@control_planes.command("add")
@_name_option
@click.option("--address", required=True, metavar="URL", help="For example http://localhost:5681.")
@click.option("--overwrite", is_flag=True, help="Replace the control plane if it exists.")
@click.option("--client-cert-file", default="", metavar="PATH", help="Client certificate; only the path is stored.")
@click.option("--client-key-file", default="", metavar="PATH", help="Client key; only the path is stored.")
@click.option("--ca-cert-file", default="", metavar="PATH", help="CA of the control plane; only the path is stored.")
@click.option("--skip-verify", is_flag=True, help="Do not verify the control plane's certificate.")
@pairs_option("--headers", help="Header to send with each request; may be repeated.")
@click.option("--auth-type", default="", help=f"How to authenticate: {TOKENS}.")
@pairs_option("--auth-conf", help=f"For {TOKENS}: token=YOUR_TOKEN.")
@click.option("--skip-check", is_flag=True, help="Do not try to connect.")
def add(*, overwrite: bool, skip_check: bool, headers: dict[str, str], **fields: object) -> None:
    """Add a control plane and use it."""
    control_plane = ControlPlane(
        url=str(fields.pop("address")),
        headers=tuple(headers.items()),
        **fields,  # type: ignore[arg-type] # click's names are the fields' names
    )
    _check_fields(control_plane)
    here = session()
    settings = here.settings()
    name = control_plane.name
    if any(cp.name == name for cp in settings.control_planes) and not overwrite:
        raise CommandFailed(
            f'Control Plane with name "{name}" already exists. Use --overwrite to replace an existing one.'
        )
    if not skip_check:
        _check_connection(control_plane)
    here.save(settings.with_control_plane(control_plane))
    click.echo(f'added Control Plane "{name}"')
    click.echo(f'switched active Control Plane to "{name}"')


def _check_fields(control_plane: ControlPlane) -> None:
    if not control_plane.name:
        raise BadRequest("--name must not be empty")
    split_address(control_plane.url)
    if bool(control_plane.client_cert_file) != bool(control_plane.client_key_file):
        raise BadRequest("--client-cert-file and --client-key-file must be given together")
    if control_plane.auth_type not in ("", TOKENS):
        raise BadRequest(f'--auth-type "{control_plane.auth_type}" is unknown; known is: {TOKENS}')
    if control_plane.auth_type == TOKENS and not control_plane.auth_conf.get("token"):
        raise BadRequest("--auth-conf is not valid: provide token=YOUR_TOKEN")
    if control_plane.auth_conf and not control_plane.auth_type:
        raise BadRequest(f"--auth-conf has no effect without --auth-type={TOKENS}; give both")


def _check_connection(control_plane: ControlPlane) -> None:
    client = session().client_for(control_plane, authenticated=False)
    hint = "use --skip-check to add it all the same"
    ports = "the API's ports are 5681 (http) and 5682 (https) unless changed"
    try:
        index = client.get("/").object()
    except Unreachable as error:
        raise CommandFailed(f"could not connect to the Control Plane API Server: {error}; {ports}; {hint}") from None
    except MeshError as error:
        raise CommandFailed(
            f"could not connect to the Control Plane API Server: {control_plane.url} answered: {error}; {ports}; {hint}"
        ) from None
    product = str(index.get("product", ""))
    if product != PRODUCT and "preview" not in str(index.get("version", "")):
        raise CommandFailed(
            f'{control_plane.url} is not a {PRODUCT} control plane, it says it is "{printable(product)}"; '
            f"check --address, or {hint}"
        )


@control_planes.command("remove")
@_name_option
def remove(name: str) -> None:
    """Remove a control plane."""
    here = session()
    settings = here.settings()
    if all(cp.name != name for cp in settings.control_planes):
        raise CommandFailed(_unknown(name))
    settings = settings.without_control_plane(name)
    here.save(settings)
    click.echo(f'removed Control Plane "{name}"')
    active = settings.active()
    if active is not None:
        click.echo(f'switched active Control Plane to "{active.name}"')
    else:
        click.echo(
            "there is no active Control Plane left. Use `kumactl config control-planes add` to add a Control Plane "
            "and make it active"
        )


@control_planes.command("switch")
@_name_option
def switch(name: str) -> None:
    """Use another control plane."""
    here = session()
    settings = here.settings().switched_to(name)
    if settings is None:
        raise CommandFailed(_unknown(name))
    here.save(settings)
    click.echo(f'switched active Control Plane to "{name}"')


def _unknown(name: str) -> str:
    return f'there is no Control Plane with name "{name}"; see "kumactl config control-planes list"'

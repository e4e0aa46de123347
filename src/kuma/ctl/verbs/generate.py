"""``kumactl generate``: tokens (from the control plane, or signed here with a key), keys and certificates.

Tokens and keys go to stdout without a line break, so that ``> file`` stores exactly them.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from kuma.core.errors import BadRequest, MeshError, NotFound
from kuma.core.identity.claims import ZONE_SCOPES
from kuma.ctl.errors import CommandFailed
from kuma.ctl.flags import GoDuration, Group, list_option, mesh_flag, pairs_option
from kuma.ctl.session import session

_NO_SUCH_PAGE: Final = "404: Page Not Found"


@click.group("generate", cls=Group)
def generate() -> None:
    """Generate tokens, keys and certificates."""


def _token_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--kid", default="", help="Id of the signing key, with --signing-key-path."),
        click.option(
            "--signing-key-path", default="", metavar="PATH", help="Sign here instead of in the control plane."
        ),
        click.option("--valid-for", required=True, type=GoDuration(), help="For how long, e.g. 24h."),
    ):
        command = option(command)
    return command


def _issue(
    what: str, request: Mapping[str, Any], claims: Mapping[str, Any], valid_for: float, key_path: str, key_id: str
) -> None:
    """Print a token: made from ``claims`` if there is a key, else by the control plane from ``request``."""
    try:
        click.echo(_token(what, request, claims, timedelta(seconds=valid_for), key_path, key_id), nl=False)
    except MeshError as error:
        raise CommandFailed(f"failed to generate a {what} token: {error}") from None


def _token(
    what: str, request: Mapping[str, Any], claims: Mapping[str, Any], valid_for: timedelta, key_path: str, key_id: str
) -> str:
    if not valid_for:
        raise BadRequest("You must set a token validFor value")
    if key_id and not key_path:
        raise BadRequest("--kid is of use only together with --signing-key-path")
    if key_path and not key_id:
        raise BadRequest("--kid is required when --signing-key-path is used")
    if key_path:
        from kuma.ctl.signing import read_signing_key, sign

        return sign(claims, read_signing_key(key_path), key_id, valid_for, session().now(), str(uuid.uuid4()))
    from kuma.core.units import format_duration

    try:
        answer = session().client().post(f"/tokens/{what}", {**request, "validFor": format_duration(valid_for)})
    except NotFound as error:
        if _NO_SUCH_PAGE in str(error):
            raise CommandFailed(
                f"this control plane issues no {what} tokens; sign one here with --signing-key-path and --kid"
            ) from None
        raise
    return answer.text.strip()


@generate.command("dataplane-token")
@click.option("--name", default="", help="Name of the one Dataplane that may use it.")
@click.option("--proxy-type", default="", help="Type of the proxy that may use it: dataplane, ingress or egress.")
@click.option("--type", "old_proxy_type", default="", hidden=True)
@pairs_option("--tag", "tags", help="Tag values that the Dataplane must have: key=value1,value2; may be repeated.")
@click.option("--workload", default="", help="Workload of the Dataplanes that may use it.")
@_token_options
def dataplane_token(
    *,
    name: str,
    proxy_type: str,
    old_proxy_type: str,
    tags: dict[str, str],
    workload: str,
    valid_for: float,
    signing_key_path: str,
    kid: str,
) -> None:
    """Generate a token that lets a data plane proxy join a mesh."""
    allowed = {key: value.split(",") for key, value in tags.items()}
    mesh = session().mesh
    kind = proxy_type or old_proxy_type
    request = {"name": name, "mesh": mesh, "tags": allowed, "type": kind, "workload": workload}
    claims = {"Name": name, "Mesh": mesh, "Tags": allowed, "Type": kind, "Workload": workload}
    _issue("dataplane", request, claims, valid_for, signing_key_path, kid)


dataplane_token.params.append(mesh_flag())


@generate.command("zone-token")
@click.option("--zone", default="", help="Name of the zone; left out, the control plane takes its own.")
@list_option("--scope", default=("ingress", "egress"), help="What it is for (default ingress,egress).")
@_token_options
def zone_token(*, zone: str, scope: tuple[str, ...], valid_for: float, signing_key_path: str, kid: str) -> None:
    """Generate a token that lets a zone proxy join."""
    if signing_key_path and not zone:
        raise click.UsageError("--zone is required when --signing-key-path is used", click.get_current_context())
    if unknown := [one for one in scope if one not in ZONE_SCOPES]:
        reason = f'--scope "{unknown[0]}" is unknown; it is one or both of {", ".join(ZONE_SCOPES)}'
        raise click.UsageError(reason, click.get_current_context())
    request = {"zone": zone, "scope": list(scope)}
    claims = {"Zone": zone, "Scope": list(scope)}
    _issue("zone", request, claims, valid_for, signing_key_path, kid)


@generate.command("user-token")
@click.option("--name", required=True, help="Name of the user.")
@list_option("--group", "groups", help="Group of the user; may be repeated.")
@_token_options
def user_token(*, name: str, groups: tuple[str, ...], valid_for: float, signing_key_path: str, kid: str) -> None:
    """Generate a token for a user of the API."""
    request = {"name": name, "groups": list(groups)}
    claims = {"Name": name, "Groups": list(groups) or None}
    _issue("user", request, claims, valid_for, signing_key_path, kid)


@generate.command("signing-key")
@click.option("--format", "form", type=click.Choice(("pem-base64", "pem")), default="pem-base64")
def signing_key(form: str) -> None:
    """Generate a key that signs tokens; pem-base64 (the default) is what the data of a Secret wants."""
    import base64

    from kuma.ctl.signing import new_signing_key, private_pem

    pem = private_pem(new_signing_key())
    click.echo(pem if form == "pem" else base64.b64encode(pem), nl=False)


@generate.command("public-key")
@click.option("--signing-key-path", required=True, metavar="PATH", help="File with the signing key.")
def public_key(signing_key_path: str) -> None:
    """Print the public key that verifies what a signing key has signed."""
    from kuma.ctl.signing import public_pem, read_signing_key

    click.echo(public_pem(read_signing_key(signing_key_path)), nl=False)


@generate.command("tls-certificate")
@click.option("--type", "kind", type=click.Choice(("server", "client")), required=True)
@list_option("--hostname", "hostnames", required=True, help="Host name or IP address; may be repeated.")
@click.option("--key-type", type=click.Choice(("rsa", "ecdsa")), default="rsa", help="Default rsa.")
@click.option("--key-file", default="key.pem", help="Where to store the key; - is stdout (default key.pem).")
@click.option("--cert-file", default="cert.pem", help="Where to store the certificate; - is stdout (default cert.pem).")
def tls_certificate(kind: str, hostnames: tuple[str, ...], key_type: str, key_file: str, cert_file: str) -> None:
    """Generate a self-signed certificate and its key."""
    from kuma.ctl.signing import private_pem, self_signed

    if not hostnames:
        raise BadRequest("--hostname is empty; give the host names or addresses that the certificate is for")
    key, certificate = self_signed(kind, key_type, hostnames, session().now())
    _store("Private key", key_file, private_pem(key), 0o400)
    _store("Certificate", cert_file, certificate, 0o600)


def _store(what: str, path: str, content: bytes, mode: int) -> None:
    if path == "-":
        click.echo(content, nl=False)
        return
    target = Path(path)
    temporary = target.with_name(f".{target.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.replace(target)
    except OSError as error:
        raise CommandFailed(f"cannot save the {what.lower()} in {path}: {error.strerror}") from None
    click.echo(f"{what} saved in {path}")

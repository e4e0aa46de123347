"""``kumactl inspect``: what the mesh is doing, in tables or as the control plane says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import click

from kuma.core.errors import MeshError, NotFound
from kuma.core.model.kinds import BY_NAME
from kuma.ctl.client import Client, Query, api_path, printable
from kuma.ctl.errors import CommandFailed
from kuma.ctl.flags import Group, mesh_flag, output_flag, pairs_option
from kuma.ctl.kinds import collection_path, item_path, text_of
from kuma.ctl.output import mapping, mappings, print_json, print_table, print_yaml
from kuma.ctl.session import session
from kuma.ctl.verbs.inspect_policy import policy_commands

_COUNTED: Final = (
    "TrafficPermission", "TrafficRoute", "CircuitBreaker", "HealthCheck", "FaultInjection", "ExternalService",
    "TrafficTrace", "TrafficLog", "ProxyTemplate", "RateLimit",
)  # fmt: skip
_MESH_COLUMNS: Final = (
    "MESH", "DATAPLANES", "TRAFFIC PERMISSIONS", "TRAFFIC ROUTES", "CIRCUIT BREAKERS", "HEALTH CHECKS",
    "FAULT INJECTIONS", "EXTERNAL SERVICES", "TRAFFIC TRACES", "TRAFFIC LOGS", "PROXY TEMPLATES", "RATE LIMITS",
)  # fmt: skip
_SERVICE_STATUS: Final = {"online": "Online", "partially_degraded": "Partially degraded"}
_DUMPS: Final = {"config-dump": "xds", "stats": "stats", "clusters": "clusters"}

inspect = Group(
    "inspect", help="Inspect what the mesh is doing.", everywhere=[output_flag(), mesh_flag()], no_args_is_help=True
)

for _command in policy_commands():
    inspect.add_command(_command)


def _all(client: Client, path: str, query: Query = ()) -> dict[str, Any]:
    """A list with all its pages: these commands have no flags to turn a page."""
    first = client.get(path, query).object()
    items = list(mappings(first.get("items")))
    offset, seen = _next_offset(first), 0
    while offset > seen:
        page = client.get(path, [*query, ("offset", str(offset))]).object()
        items.extend(mappings(page.get("items")))
        offset, seen = _next_offset(page), offset
    return {**first, "items": items, "next": None}


def _next_offset(page: Mapping[str, Any]) -> int:
    found = parse_qs(urlsplit(text_of(page, "next")).query).get("offset", ["0"])[0]
    return int(found) if found.isascii() and found.isdigit() else 0


def _listed(what: str, path: str, query: Query = ()) -> dict[str, Any] | None:
    """The list, or ``None`` if it was printed as data already."""
    here = session()
    try:
        answer = _all(here.client(), path, query)
    except MeshError as error:
        raise CommandFailed(f"failed to list {what}: {error}") from None
    if here.output == "json":
        print_json(answer)
    elif here.output == "yaml":
        print_yaml(answer)
    else:
        return answer
    return None


@inspect.command("dataplanes")
@pairs_option("--tag", "tags", help="Only proxies with this tag; may be repeated.")
@click.option("--gateway", is_flag=True, help="Only gateways.")
@click.option("--ingress", is_flag=True, help="Only zone ingresses (kept for old scripts).")
def dataplanes(*, tags: dict[str, str], gateway: bool, ingress: bool) -> None:
    """Show how the data plane proxies are."""
    from kuma.ctl import overview

    here = session()
    query = [("tag", f"{key}:{value}") for key, value in tags.items()]
    query += [(name, "true") for name, given in (("gateway", gateway), ("ingress", ingress)) if given]
    path = f"{collection_path(BY_NAME['Dataplane'], here.mesh)}/_overview"
    answer = _listed("DataplaneOverview", path, query)
    if answer is not None:
        print_table(overview.COLUMNS, [overview.row(item, here.now()) for item in mappings(answer["items"])])


@inspect.command("meshes")
def meshes() -> None:
    """Show how the meshes are."""
    kind = BY_NAME["MeshInsight"]
    answer = _listed(kind.name, collection_path(kind, ""))
    if answer is not None:
        print_table(_MESH_COLUMNS, [_mesh_row(item) for item in mappings(answer["items"])])


def _mesh_row(item: Mapping[str, Any]) -> list[str]:
    policies = mapping(item.get("policies"))
    counts = [str(mapping(policies.get(name)).get("total", 0)) for name in _COUNTED]
    return [text_of(item, "name"), _online(item), *counts]


def _online(item: Mapping[str, Any]) -> str:
    counts = mapping(item.get("dataplanes"))
    return f"{counts.get('online', 0)}/{counts.get('total', 0)}"


@inspect.command("services")
def services() -> None:
    """Show how the services of a mesh are."""
    kind = BY_NAME["ServiceInsight"]
    answer = _listed(kind.name, collection_path(kind, session().mesh))
    if answer is None:
        return
    rows = [
        (text_of(item, "name"), _SERVICE_STATUS.get(text_of(item, "status"), "Offline"), _online(item))
        for item in mappings(answer["items"])
    ]
    print_table(("SERVICE", "STATUS", "DATAPLANES"), rows)


@inspect.command("dataplane")
@click.argument("name")
@click.option(
    "--type",
    "aspect",
    type=click.Choice(("policies", "config-dump", "stats", "clusters", "config")),
    default="policies",
    help="What to show (default policies): config is what the control plane computes, config-dump what Envoy holds.",
)
@click.option("--config-dump", is_flag=True, hidden=True)
@click.option("--include-eds", is_flag=True, help="With --type=config-dump: endpoints, too.")
@click.option("--shadow", is_flag=True, help="With --type=config: as if policies with the shadow label were in force.")
@click.option("--include", type=click.Choice(("diff",)), help="With --type=config: what --shadow would change.")
def dataplane(
    *, name: str, aspect: str, config_dump: bool, include_eds: bool, shadow: bool, include: str | None
) -> None:
    """Show what one data plane proxy gets, or what its Envoy holds."""
    here = session()
    aspect = "config-dump" if config_dump else aspect
    if (shadow or include) and aspect != "config":
        raise click.UsageError("--shadow and --include need --type=config", click.get_current_context())
    if include_eds and aspect != "config-dump":
        raise click.UsageError("--include-eds needs --type=config-dump", click.get_current_context())
    query: list[tuple[str, str]] = []
    if aspect == "config":
        query = [("shadow", "true" if shadow else "false"), *([("include", include)] if include else [])]
    elif include_eds:
        query = [("include_eds", "true")]
    segment = {"policies": "policies", "config": "_config", **_DUMPS}[aspect]
    path = f"{item_path(BY_NAME['Dataplane'], here.mesh, name)}{api_path(segment)}"
    try:
        answer = here.client().get(path, query)
    except NotFound as error:
        raise CommandFailed(
            f'nothing known about Dataplane "{name}" in mesh "{here.mesh}": {error}; '
            f'see "kumactl inspect dataplanes --mesh {here.mesh}"'
        ) from None
    except MeshError as error:
        raise CommandFailed(f'failed to inspect Dataplane "{name}" in mesh "{here.mesh}": {error}') from None
    if aspect == "policies" and here.output == "table":
        _print_policies(mappings(answer.object().get("items")))
    elif aspect == "policies":
        print_yaml(answer.object()) if here.output == "yaml" else print_json(answer.object())
    else:
        click.echo(answer.text, nl=not answer.text.endswith("\n"))


def _print_policies(attachments: Sequence[Mapping[str, Any]]) -> None:
    for attachment in attachments:
        click.echo(printable(_head(attachment)))
        for kind, policies in sorted(mapping(attachment.get("matchedPolicies")).items()):
            click.echo(printable(f"  {kind}"))
            for policy in mappings(policies):
                click.echo(printable(f"    {text_of(policy, 'name')}"))
        click.echo()


def _head(attachment: Mapping[str, Any]) -> str:
    kind, name = text_of(attachment, "type"), text_of(attachment, "name")
    if kind == "dataplane":
        return "DATAPLANE:"
    if kind == "service":
        return f"SERVICE {name}:"
    return f"{kind.upper()} {name}({text_of(attachment, 'service')}):"

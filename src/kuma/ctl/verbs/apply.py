"""``kumactl apply``: create or change resources from files.

Promises: nothing is sent unless every document could be read and keeps the rules of its type; the first refusal of
the control plane stops the rest, and what was changed before it has been printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from kuma.core.errors import BadRequest, InvalidResource, MeshError
from kuma.core.model.kinds import BY_NAME, Kind, Scope
from kuma.core.model.text import dump_yaml, parse_document
from kuma.ctl.client import Answer, Client, printable
from kuma.ctl.errors import ApiError, CommandFailed
from kuma.ctl.flags import Command, GoDuration, pairs_option
from kuma.ctl.kinds import item_path
from kuma.ctl.session import session
from kuma.ctl.sources import Document, documents, read

DEFAULT_WAIT: Final = "30s"


@dataclass(frozen=True, slots=True)
class _Item:
    kind: Kind
    mesh: str
    name: str
    data: Mapping[str, Any]

    def __str__(self) -> str:
        return f'resource type="{self.kind.name}" mesh="{self.mesh}" name="{self.name}"'


class _MetaProblem(BadRequest):
    """The document is readable, but does not say which resource it is."""


@click.command("apply", cls=Command, short_help="Create or change resources.")
@click.option("-f", "--file", "source", required=True, metavar="PATH", help="File, directory, URL or - for stdin.")
@pairs_option("-v", "--var", "variables", help="Value for a {{ variable }} in the files; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@click.option(
    "--wait",
    type=GoDuration(),
    is_flag=False,
    flag_value=DEFAULT_WAIT,
    metavar="DURATION",
    help="Wait (30s, or --wait=DURATION) until every proxy has the change; fail if one refuses it.",
)
def apply(source: str, variables: dict[str, str], *, dry_run: bool, wait: float | None) -> None:
    """Create or change resources."""
    items = _items(_documents(source, variables))
    client = session().client()
    if dry_run:
        click.echo("---\n".join(dump_yaml(item.data) for item in items), nl=False)
        return
    answers = [_send(client, item) for item in items]
    if wait is not None:
        from kuma.ctl.rollout import wait_for_proxies

        newest = max(answer.revision for answer in answers)
        first = min((answer.revision for answer in answers if answer.changed), default=newest)
        wait_for_proxies(client, newest, wait, since=first)


def _documents(source: str, variables: Mapping[str, str]) -> list[Document]:
    found: list[Document] = []
    for text in read(source):
        for document in documents(text):
            if variables:
                from kuma.core.model.template import render

                try:
                    content = render(document.content, variables)
                except MeshError as error:
                    raise CommandFailed(f"failed to fill in the variables {_where(document)}: {error}") from None
                found.append(Document(document.source, document.line, content))
            else:
                found.append(document)
    if not found:
        raise CommandFailed(f"no resource(s) passed to apply: {source} holds no YAML or JSON documents")
    return found


def _where(document: Document) -> str:
    return f"in the document that starts at line {document.line} of {document.source}"


def _items(found: Sequence[Document]) -> list[_Item]:
    items: list[_Item] = []
    wrong = False
    for index, document in enumerate(found):
        try:
            items.append(_item(document))
        except MeshError as error:
            step = "read meta" if isinstance(error, _MetaProblem) else "parse resource"
            click.echo(f"resource[{index}]: failed to {step}: {printable(str(error))} ({_where(document)})", err=True)
            wrong = True
    if wrong:
        raise CommandFailed("failed to validate some resources")
    return items


def _item(document: Document) -> _Item:
    data = parse_document(document.content)
    if not isinstance(data, dict):
        raise BadRequest("a resource must be a mapping with type, name and, for most types, mesh")
    if "apiVersion" in data and "kind" in data and "type" not in data:
        raise BadRequest('this is a Kubernetes manifest; use "kubectl apply", or write it with type, mesh and name')
    name_of_kind = data.get("type")
    kind = BY_NAME.get(name_of_kind) if isinstance(name_of_kind, str) else None
    if kind is None:
        written = "it has no type" if name_of_kind is None else f'invalid resource type "{name_of_kind}"'
        raise BadRequest(f"{written}; types that can be applied: {', '.join(sorted(_WRITABLE))}")
    if kind.read_only:
        raise BadRequest(f'the type "{kind.name}" is read-only: the control plane writes it')
    item = _Item(kind, _meta(data, "mesh") if kind.scope is Scope.MESH else "", _meta(data, "name"), data)
    _validate(item)
    return item


def _validate(item: _Item) -> None:
    """Check the type's own rules here, so that one bad document among many is found before anything is changed."""
    from kuma.core.model.document import read as read_resource
    from kuma.core.model.names import resource_name
    from kuma.core.model.resource import Key, Meta, Resource, definition

    parsed = read_resource(item.kind, item.data)
    resource = Resource(Meta(Key(item.kind.name, item.mesh, item.name), parsed.labels), parsed.spec)
    violations = (*resource_name(item.name), *definition(item.kind.name).validate(resource))
    if violations:
        raise InvalidResource(violations)


_WRITABLE = [name for name, kind in BY_NAME.items() if not kind.read_only]


def _meta(data: Mapping[str, Any], field: str) -> str:
    value = data.get(field)
    if value is None or value == "":
        raise _MetaProblem(f"{field}: cannot be empty")
    if not isinstance(value, str):
        raise _MetaProblem(f'{field}: must be text; write it in quotes: "{value}"')
    return value


def _send(client: Client, item: _Item) -> Answer:
    """Create or change one resource."""
    try:
        answer = client.put(item_path(item.kind, item.mesh, item.name), item.data)
        warnings = answer.object().get("warnings") if answer.body.strip() else None
    except ApiError as error:
        fields = "".join(f"{field}={reason} " for field, reason in error.fields)
        hint = f"\n{error.next_step}" if error.next_step else ""
        raise CommandFailed(f"{item}: failed server side: {error.summary};{fields}{hint}") from None
    except MeshError as error:
        raise CommandFailed(f"{item}: failed server side: {error}") from None
    click.echo(f"{item} {'Created' if answer.status == 201 else 'Updated'}")
    for warning in warnings if isinstance(warnings, list) else []:
        click.echo(f"Warning: {printable(str(warning))}", err=True)
    return answer

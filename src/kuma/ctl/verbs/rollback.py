"""``kumactl rollback``: bring one resource, one mesh or everything back to what it was.

Promises: what will change is shown first, and exactly that is done or nothing; without ``--yes`` a person has to agree;
what is not brought back is said.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import click

from kuma.core.errors import BadRequest, MeshError, NotFound
from kuma.core.model.kinds import Scope
from kuma.ctl.client import Client, api_path, printable
from kuma.ctl.errors import CommandFailed
from kuma.ctl.flags import Command, GoDuration, shared
from kuma.ctl.kinds import kind_called, text_of
from kuma.ctl.output import mappings
from kuma.ctl.session import session
from kuma.ctl.verbs.apply import DEFAULT_WAIT
from kuma.ctl.verbs.history import Revision, not_found


@click.command("rollback", cls=Command, short_help="Bring resources back to an earlier revision.")
@click.argument("revision", metavar="REVISION", type=Revision())
@click.argument("kind_word", metavar="[TYPE NAME]", required=False)
@click.argument("name", metavar="", required=False)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--wait",
    type=GoDuration(),
    is_flag=False,
    flag_value=DEFAULT_WAIT,
    metavar="DURATION",
    help="Wait (30s, or --wait=DURATION) until every proxy has the change; fail if one refuses it.",
)
def rollback(
    revision: str, kind_word: str | None, name: str | None, *, dry_run: bool, yes: bool, wait: float | None
) -> None:
    """
    Bring back the state right after REVISION (see "kumactl history"), as a new revision.

    Of one resource with TYPE and NAME, of one mesh with --mesh alone, else of everything. What only the control plane
    and proxies wrote stays as it is, and so do secrets that are not named. A mesh that was deleted comes with the
    secrets that it had when it was deleted.
    """
    from kuma.ctl.difference import print_differences

    about = _about(kind_word, name)
    client = session().client()
    plan = _sent(client, revision, {**about, "dryRun": True})
    changes = print_differences(plan.get("changes"), "now", f"revision {revision}")
    _tell(plan, one=kind_word is not None)
    if not changes:
        number = int(revision)
        undo = f"; to undo revision {revision} itself, roll back to revision {number - 1}" if number else ""
        click.echo(f"Nothing to change: all is as it was right after revision {revision}{undo}", err=True)
        return
    click.echo(f"Rolling back to revision {revision} {_counted(changes)}", err=True)
    if dry_run:
        return
    if not yes:
        _confirm()
    done = _sent(client, revision, {**about, "plan": plan.get("plan")})
    written = done.get("written")
    click.echo(f"rolled back to revision {revision} as revision {written}")
    if wait is not None:
        from kuma.ctl.rollout import wait_for_proxies

        wait_for_proxies(client, written if isinstance(written, int) else 0, wait)


rollback.params.append(
    shared("-m", "--mesh", metavar="NAME", help='Mesh to bring back; of a resource, its mesh (default "default").')
)


def _about(word: str | None, name: str | None) -> dict[str, str]:
    """What is to be brought back, as the control plane wants to know it."""
    if word is None:
        return {"mesh": str(session().flags.get("mesh") or "")}
    kind = kind_called(word)
    if kind is None:
        raise BadRequest(f'unknown TYPE "{word}"; use one such as mesh, meshtimeout or dataplane')
    if kind.read_only:
        raise BadRequest(f"{kind.name} is written by the control plane itself and cannot be rolled back")
    if name is None:
        raise BadRequest(f'the NAME of the {kind.name} is missing; see "kumactl rollback --help"')
    return {"type": kind.name, "name": name, "mesh": session().mesh if kind.scope is Scope.MESH else ""}


def _sent(client: Client, revision: str, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return client.post(api_path("_rollback", revision), request).object()
    except NotFound as error:
        reason = not_found(error)
    except MeshError as error:
        reason = str(error)
    raise CommandFailed(f"failed to roll back to revision {revision}: {reason}")


def _tell(plan: Mapping[str, Any], *, one: bool) -> None:
    """
    What is not brought back, and what to know about the rest.

    Raises:
        CommandFailed: the one resource that was asked for is not brought back.
    """
    from kuma.ctl.difference import title, titles

    by_reason: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for left in mappings(plan.get("leftAlone")):
        by_reason[printable(text_of(left, "reason"))].append(left)
    if one and by_reason and not plan.get("changes"):
        reason, (left, *_) = next(iter(by_reason.items()))
        raise CommandFailed(f"{title(left)} is not rolled back: {reason}")
    for reason, resources in by_reason.items():
        click.echo(f"Left alone: {titles(resources)} ({reason})", err=True)
    warnings = plan.get("warnings")
    for warning in warnings if isinstance(warnings, list) else []:
        click.echo(f"Warning: {printable(str(warning))}", err=True)


def _counted(changes: Sequence[Mapping[str, Any]]) -> str:
    sides = [(change.get("before") is not None, change.get("after") is not None) for change in changes]
    counts = {
        "creates": sides.count((False, True)),
        "changes": sides.count((True, True)),
        "deletes": sides.count((True, False)),
    }
    told = " and ".join(f"{verb} {count}" for verb, count in counts.items() if count)
    return f"{told} resource{'s' if len(changes) > 1 else ''}"


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise CommandFailed("nothing was changed: there is no terminal to ask on; with --yes it is done without asking")
    if not click.confirm("Do it?", err=True):
        raise CommandFailed("nothing was changed")

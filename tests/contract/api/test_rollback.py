"""Going back to any state that people made gives exactly that state, on every store."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kuma.core.model.kinds import BY_NAME, Scope
from kuma.core.model.resource import Key
from tests.contract.api.control_plane import DATAPLANE, control_plane
from tests.contract.store.implementations import IMPLEMENTATIONS

MESHES = ("default", "other")
BARE = {"skipCreatingInitialPolicies": ["*"]}
MTLS = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}
OLD_AND_NEW = {"enabledBackend": "ca-2", "backends": [*MTLS["backends"], {"name": "ca-2", "type": "builtin"}]}
PROBED = {"port": 80, "tags": {"kuma.io/service": "web"}, "serviceProbe": {"tcp": {}}}


def _mesh(**fields):
    return st.fixed_dictionaries({"type": st.just("Mesh"), "name": st.sampled_from(MESHES), **fields})


def _in_mesh(kind, names, **fields):
    named = {"type": st.just(kind), "mesh": st.sampled_from(MESHES), "name": st.sampled_from(names)}
    labels = st.sampled_from([{}, {"team": "a"}])
    return st.fixed_dictionaries({**named, **fields}, optional={"labels": labels})


DOCUMENTS = st.one_of(
    _mesh(mtls=st.sampled_from([None, MTLS, OLD_AND_NEW]), **{key: st.just(value) for key, value in BARE.items()}),
    _in_mesh(
        "MeshTimeout",
        "ab",
        spec=st.sampled_from(["1s", "2s", "3s"]).map(
            lambda time: {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": time}}]}
        ),
    ),
    _in_mesh("MeshRetry", "r", spec=st.just({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"tcp": {}}}]})),
    _in_mesh(
        "Dataplane",
        "d",
        networking=st.sampled_from([DATAPLANE["networking"], {"address": "10.0.0.2", "inbound": [PROBED]}]),
    ),
    _in_mesh("Secret", "s", data=st.sampled_from(["b25l", "dHdv"])),
)
STEPS = st.lists(st.tuples(st.sampled_from(["PUT", "PUT", "PUT", "DELETE"]), DOCUMENTS), min_size=2, max_size=10)


def _path(document):
    kind = BY_NAME[document["type"]]
    place = f"/meshes/{document['mesh']}" if kind.scope is Scope.MESH else ""
    return f"{place}/{kind.path}/{document['name']}"


async def _state(store):
    """What people decide, by key: all that is stored but times, versions and what was observed."""
    records = (await store.contents()).records
    return {r.key: (r.spec, dict(r.labels), r.owner) for r in records if not BY_NAME[r.key.kind].read_only}


def _as_it_should_be(then, now, ends):
    """
    The earlier state, but secrets: they stay as they are, unless their mesh came or went.

    Those of a mesh that came back are what they were when it ended: ``ends`` has the last state with each record.
    """

    def secret(key):
        return BY_NAME[key.kind].admin_only

    kept = {key: r for key, r in now.items() if secret(key) and (key.mesh == "" or _mesh_of(key) in then)}
    for mesh in then.keys() - now.keys():
        if mesh.kind == "Mesh":
            kept |= {key: record for key, record in ends[mesh].items() if key.mesh == mesh.name and secret(key)}
    return kept | {key: record for key, record in then.items() if not secret(key)}


def _authorities(key, reborn):
    """Whether it is part of a builtin authority that a mesh needs again and did not have when it ended."""
    return key.kind == "Secret" and ".ca-builtin-" in key.name and _mesh_of(key) in reborn


def _mesh_of(key):
    return Key("Mesh", "", key.mesh)


async def _proved(implementation, folder, steps, data):
    async with implementation.opened(folder) as store:
        cp = await control_plane(store=store)
        async with cp.client() as client:
            states = {await store.revision(): await _state(store)}
            ends = {}
            for method, document in steps:
                before = await _state(store)
                answer = await client.request(method, _path(document), json=document if method == "PUT" else None)
                assert answer.status_code < 500, answer.text
                states[await store.revision()] = after = await _state(store)
                ends |= dict.fromkeys(before.keys() - after.keys(), before)
            revision = data.draw(st.sampled_from(sorted(states)))
            now, then = await _state(store), states[revision]

            shown = await client.post(f"/_rollback/{revision}", json={"dryRun": True})
            assert shown.status_code == 200, shown.text
            assert await _state(store) == now
            done = await client.post(f"/_rollback/{revision}", json={"plan": shown.json()["plan"]})
            assert done.status_code == 200, done.text

            found, wanted = await _state(store), _as_it_should_be(then, now, ends)
            reborn = then.keys() - now.keys()
            assert {k: r for k, r in found.items() if k in wanted or not _authorities(k, reborn)} == wanted
            again = (await client.post(f"/_rollback/{revision}", json={})).json()
            assert (again["changes"], again["written"]) == ([], 0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=lambda implementation: implementation.name)
def test_a_rollback_gives_exactly_the_state_that_was_recorded(implementation):
    """Whatever was made, changed and deleted since; a second one has nothing to do."""

    @given(steps=STEPS, data=st.data())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def proved(steps, data):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(_proved(implementation, Path(folder), steps, data))

    proved()

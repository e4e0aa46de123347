import asyncio
import json

import pytest

from kuma.core.model.resource import Key
from kuma.core.xds.view import TlsMode
from kuma.cp.store.port import Delete, Put
from tests.unit.cp.reconcile.control import MESH, control, eventually, key, put

MTLS = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}


async def test_what_is_written_is_in_the_snapshot():
    """And what is deleted is not; the revision tells how far it goes."""
    async with control() as cp:
        await cp.write(put("a"), put("b"))
        await cp.reached()
        assert cp.proxies() == {"a", "b"}

        await cp.write(Delete(key("a")))
        await cp.reached()

        assert cp.proxies() == {"b"}
        assert cp.meshes.state("default").snapshot.revision == await cp.store.revision()


async def test_of_several_changes_of_one_record_in_a_batch_the_last_counts():
    """One that is written and deleted before anybody looks is gone; one that is deleted and written is there."""
    async with control() as cp:
        await cp.write(put("stays"))
        await cp.reached()
        # Nothing waits in between, so the subscriber is told of all of this at once.
        await cp.write(put("goes"))
        await cp.write(put("goes", "other"))
        await cp.write(Delete(key("goes")))
        await cp.write(Delete(key("stays")))
        await cp.write(put("stays", "new"))
        await cp.reached()

        assert cp.proxies() == {"stays"}
        [offer] = cp.meshes.state("default").snapshot.proxies["stays"].offers
        assert offer.service == "new"


async def test_a_restart_reads_all_there_is():
    """Before it is ready, nobody is told anything else."""
    async with control(run=False) as cp:
        await cp.write(put("a"), put("b"))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(cp.meshes.run())
            await cp.meshes.ready.wait()
            assert cp.proxies() == {"a", "b"}
            task.cancel()


async def test_changes_that_keep_coming_are_published_together():
    """Many writes in a moment are few snapshots."""
    async with control() as cp:
        before = cp.meshes.published
        for number in range(200):
            await cp.write(put(f"dp-{number}"))
            await asyncio.sleep(0)
        await cp.reached()

        assert len(cp.proxies()) == 200
        assert cp.meshes.published - before < 50


async def test_a_deleted_mesh_is_told():
    """Its listeners hear None; it may come back empty."""
    async with control() as cp:
        heard = []
        cp.meshes.listen(lambda mesh, state: heard.append((mesh, state is None)))
        await cp.write(put("a"))
        await cp.write(Delete(MESH))
        await cp.reached()
        assert cp.meshes.state("default") is None
        assert heard[-1] == ("default", True)

        await cp.mesh()
        await cp.reached()
        assert cp.proxies() == set()


async def test_a_resource_that_cannot_be_read_is_left_as_it_was():
    """One bad record (written by another version) does not stop its neighbours in the same batch."""
    async with control() as cp:
        await cp.write(put("a", "web"))
        await cp.reached()

        await cp.write(Put(key("a"), b'{"networking": {"inbound": "nonsense"}}', owner=MESH), put("b"))
        await cp.reached()

        assert cp.proxies() == {"a", "b"}
        assert cp.meshes.state("default").snapshot.proxies["a"].offers[0].service == "web"


async def test_a_mesh_whose_ca_cannot_be_read_is_never_configured_in_clear_text():
    """At a start it waits for its CA; when the CA is back, everything that came meanwhile is there."""
    async with control(run=False) as cp:
        await cp.mesh(mtls=MTLS)
        secrets = await cp.store.list("Secret", "default")
        await cp.write(put("early"), *(Delete(one.key) for one in secrets if "ca-builtin" in one.key.name))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(cp.meshes.run())
            await cp.meshes.ready.wait()
            assert cp.proxies() == set()
            await cp.write(put("late"))
            await cp.reached()
            assert cp.proxies() == set()

            await cp.write(*(Put(one.key, one.spec, one.labels, owner=one.owner) for one in secrets))
            await cp.reached()

            snapshot = cp.meshes.state("default").snapshot
            assert set(snapshot.proxies) == {"early", "late"}
            assert snapshot.settings.tls is TlsMode.STRICT
            task.cancel()


async def test_a_ca_that_is_lost_later_leaves_the_last_one():
    """The roots and the mode stay; other changes go on."""
    async with control() as cp:
        await cp.mesh(mtls=MTLS)
        await cp.reached()
        settings = cp.meshes.state("default").snapshot.settings
        assert settings.roots

        secrets = await cp.store.list("Secret", "default")
        await cp.write(*(Delete(one.key) for one in secrets if "ca-builtin" in one.key.name))
        await cp.write(put("a"))
        await cp.reached()

        assert cp.meshes.state("default").snapshot.settings == settings
        assert cp.proxies() == {"a"}


@pytest.mark.parametrize(("insight", "expected"), [({"issuedBackend": "ca-1"}, True), ({}, False)])
async def test_insights_tell_who_accepts_mutual_tls(insight, expected):
    """Only that is taken from them; one that is deleted says no."""
    async with control() as cp:
        record = Put(key("a", "DataplaneInsight"), json.dumps({"mTLS": insight}).encode(), owner=key("a"))
        await cp.write(put("a"))
        await cp.write(record)
        await cp.reached()
        assert cp.meshes.state("default").snapshot.issued.get("a", False) is expected

        await cp.write(Delete(key("a")))
        await cp.reached()
        assert cp.meshes.state("default").snapshot.issued == {}


async def test_insights_that_say_nothing_new_make_no_snapshot():
    """After each change every proxy reports; nobody need be looked at again for that."""
    async with control() as cp:

        async def report(text):
            insight = {"mTLS": {"issuedBackend": "ca-1", "text": text}}
            await cp.write(Put(key("a", "DataplaneInsight"), json.dumps(insight).encode(), owner=key("a")))
            await cp.reached()

        await cp.write(put("a"))
        await report("first")
        published, snapshot = cp.meshes.published, cp.meshes.state("default").snapshot

        await report("second")

        assert cp.meshes.published == published
        assert cp.meshes.state("default").snapshot is snapshot


async def test_what_a_connected_proxy_does_is_known_ahead_of_the_store():
    """Who joins is noted at once, for the mesh that exists; a mesh that does not is no trouble."""
    async with control() as cp:
        await cp.write(put("a"))
        await cp.reached()
        cp.meshes.note("default", joining={"a": True})
        cp.meshes.note("nowhere", joining={"a": True})

        assert cp.meshes.state("default").snapshot.joining == {"a"}
        cp.meshes.note("default", joining={"a": False}, issued={"a": True})
        assert cp.meshes.state("default").snapshot.joining == frozenset()
        assert cp.meshes.state("default").snapshot.issued == {"a": True}


async def test_observers_hear_of_changes_before_snapshots_are_made():
    """Caches of keys and authorities must be fresh when they are asked."""
    async with control() as cp:
        order = []
        cp.meshes.observe(lambda changes: order.append([change.key.name for change in changes]))
        cp.meshes.listen(lambda mesh, state: order.append(mesh))
        await cp.write(put("a"))
        await eventually(lambda: len(order) == 2)

        assert order == [["a"], "default"]


async def test_meshes_do_not_meet():
    """A change of one mesh is told to nobody of another."""
    async with control() as cp:
        await cp.mesh("other")
        await cp.reached()
        heard = []
        cp.meshes.listen(lambda mesh, state: heard.append(mesh))
        spec = put("a").spec
        await cp.write(Put(Key("Dataplane", "other", "a"), spec, owner=Key("Mesh", "", "other")))
        await cp.reached()

        assert heard == ["other"]
        assert cp.proxies() == set()
        assert set(cp.meshes.states()) == {"default", "other"}

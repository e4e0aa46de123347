from datetime import timedelta

import pytest

from kuma.core.errors import MeshError, NotFound
from kuma.core.snapshot.plan import Planner
from kuma.core.xds.generate import Generator
from kuma.core.xds.names import CLUSTER
from kuma.core.xds.wire import Wire
from kuma.cp.ca.authorities import Authorities
from kuma.cp.ca.authority import load_authority, new_root
from kuma.cp.reconcile.identities import Identities
from kuma.cp.reconcile.inspection import Inspection
from kuma.cp.reconcile.streams import Streams
from kuma.cp.store.port import Put
from tests.unit.cp.reconcile.control import MESH, NOW, control, key

WEB = b"""{"networking": {"address": "10.0.0.1", "outbound": [{"port": 9000, "tags": {"kuma.io/service": "db"}}]}}"""
TIMEOUT = b"""{"to": [{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "7s"}}]}"""
IMPOSSIBLE = b"""{"default": {"appendModifications": [{"cluster": {"operation": "Patch",
    "jsonPatches": [{"op": "replace", "path": "/a/b", "value": 1}]}}]}}"""


def inspection(cp):
    """What the inspect endpoints ask, without a connected proxy."""
    planner = Planner(Generator())
    root = new_root(common_name="admin", unit="test", uri="", lifetime=timedelta(days=1000), now=NOW)
    identities = Identities(Authorities(cp.store), load_authority(root, "admin"))
    streams = Streams(cp.meshes, planner, identities, Wire("cp-1"), lambda: NOW, lambda _: None)
    return Inspection(cp.meshes, streams, planner)


async def timeout_of(asked, *, shadow=False):
    """The connection timeout that the proxy gets."""
    return (await asked.config("default", "web", shadow=shadow))[CLUSTER]["db"]["connectTimeout"]


async def test_a_shadow_policy_only_shows_what_it_would_do():
    """Proxies get nothing of it until the label is taken away."""
    async with control() as cp:
        labels = {"kuma.io/effect": "shadow"}
        await cp.write(
            Put(key("web"), WEB, owner=MESH), Put(key("t", "MeshTimeout"), TIMEOUT, labels=labels, owner=MESH)
        )
        await cp.reached()
        asked = inspection(cp)
        before = cp.meshes.state("default").snapshot

        assert (await timeout_of(asked), await timeout_of(asked, shadow=True)) == ("5s", "7s")
        assert cp.meshes.state("default").snapshot is before, "looking changes nothing"

        await cp.write(Put(key("t", "MeshTimeout"), TIMEOUT, owner=MESH))
        await cp.reached()

        assert (await timeout_of(asked), await timeout_of(asked, shadow=True)) == ("7s", "7s")


async def test_a_shadow_policy_that_cannot_be_applied_says_so_before_it_counts():
    """What it would do is refused with its name; what the proxy gets now is shown as before."""
    async with control() as cp:
        patch = Put(key("p", "MeshProxyPatch"), IMPOSSIBLE, labels={"kuma.io/effect": "shadow"}, owner=MESH)
        await cp.write(Put(key("web"), WEB, owner=MESH), patch)
        await cp.reached()
        asked = inspection(cp)

        with pytest.raises(MeshError, match=r'^MeshProxyPatch "p": appendModifications') as failed:
            await asked.config("default", "web", shadow=True)
        assert not isinstance(failed.value, NotFound)
        assert await timeout_of(asked) == "5s"


async def test_an_unknown_proxy_is_not_found():
    """By name and mesh."""
    async with control() as cp:
        with pytest.raises(NotFound, match='Dataplane "none" in mesh "default"'):
            await inspection(cp).config("default", "none", shadow=False)

"""Dataplanes may be addressed by DNS names: proxies are told IP addresses, and hear when these move."""

import asyncio
from datetime import timedelta

import pytest

from kuma.core.model.codec import decode_json
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.resources.dataplane import facts
from kuma.cp.reconcile.addresses import Addresses

WEB = Key("Dataplane", "default", "web-1")
TTL = timedelta(seconds=10)


def dataplane(address: str, advertised: str = "") -> Resource:
    """A Dataplane at an address."""
    spec = decode_json("Dataplane", {"networking": {"address": address, "advertisedAddress": advertised}})
    return Resource(Meta(WEB), spec)


class Names:
    """A name server whose answers the test decides."""

    def __init__(self, **answers: str | None) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def resolve(self, name: str) -> str | None:
        self.asked.append(name)
        return self.answers.get(name)


@pytest.fixture
def told():
    """Which Dataplanes were told to have moved."""
    return asyncio.Queue()


def address_of(resource: Resource) -> tuple[str, str]:
    """Address and advertised address."""
    networking = facts.networking(resource.spec)
    return networking.address, networking.advertised_address


def test_an_ip_address_stays_as_it_is():
    """Nothing is looked up, and the very object comes back."""
    resource = dataplane("10.0.0.1", "fd00::1")

    assert Addresses(TTL).resolved(resource) is resource


@pytest.mark.looptime
async def test_a_name_is_looked_up_and_told_once_it_has_an_address(told):
    """Until then the proxy is left out; asking never waits for the name server."""
    names = Names(web="10.0.0.7", front="1.2.3.4")
    addresses = Addresses(TTL, names.resolve)

    assert addresses.resolved(dataplane("web", "front")) is None
    async with asyncio.TaskGroup() as group:
        task = group.create_task(addresses.run(told.put))
        assert await told.get() == {WEB}
        task.cancel()

    assert address_of(addresses.resolved(dataplane("web", "front"))) == ("10.0.0.7", "1.2.3.4")


@pytest.mark.looptime
async def test_a_name_that_moves_is_noticed_within_its_time_to_live(told):
    """Only the Dataplanes that use it are told; a failing look-up keeps the last address."""
    names = Names(web="10.0.0.7")
    addresses = Addresses(TTL, names.resolve)
    addresses.resolved(dataplane("web"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(addresses.run(told.put))
        await told.get()
        names.answers["web"] = None
        await asyncio.sleep(11)
        assert address_of(addresses.resolved(dataplane("web"))) == ("10.0.0.7", "")
        names.answers["web"] = "10.0.0.8"
        assert await told.get() == {WEB}
        task.cancel()

    assert address_of(addresses.resolved(dataplane("web"))) == ("10.0.0.8", "")


@pytest.mark.looptime
async def test_names_nobody_uses_any_more_are_not_looked_up(told):
    """A Dataplane that is gone, or has an IP now, costs nothing."""
    names = Names(web="10.0.0.7")
    addresses = Addresses(TTL, names.resolve)
    addresses.resolved(dataplane("web"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(addresses.run(told.put))
        await told.get()
        addresses.forget(WEB)
        names.asked.clear()
        await asyncio.sleep(60)
        task.cancel()

    assert names.asked == []

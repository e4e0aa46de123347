"""Dataplanes: tags, labels and health that the control plane adds."""

import pytest

from kuma.core.model.resource import Key
from tests.unit.cp.resources.user import MESH, dataplane, mesh, told

PROBED = {"port": 80, "tags": {"kuma.io/service": "web"}, "serviceProbe": {"tcp": {}}}
KEY = Key("Dataplane", "default", "web-1")


async def inbounds(user):
    """The stored inbounds."""
    return (await user.get("Dataplane", "web-1")).spec.networking.inbound


async def state(user):
    """State and health of the first inbound."""
    first = (await inbounds(user))[0]
    return first.state.value, None if first.health is None else first.health.ready


async def probe_succeeds(user):
    """The application answered on port 80."""
    await user.as_control_plane(await user.probed("web-1", ready=True))


async def test_every_inbound_is_tagged_with_the_zone(user):
    """Also one without tags, and a gateway."""
    await user.put(dataplane("web-1", {"port": 80, "tags": {"kuma.io/service": "web"}}, {"port": 81}))
    assert [inbound.tags.get("kuma.io/zone") for inbound in await inbounds(user)] == ["default", "default"]

    edge = {"address": "10.0.0.1", "gateway": {"tags": {"kuma.io/service": "edge"}}}
    await user.put(dataplane("edge") | {"networking": edge})
    assert (await user.get("Dataplane", "edge")).spec.networking.gateway.tags["kuma.io/zone"] == "default"


async def test_in_a_mesh_without_tags_untagged_inbounds_stay_so(user):
    """Where services are resources only, no tag is forced upon anyone."""
    await user.put(mesh(meshServices={"mode": "Exclusive"}))

    await user.put(dataplane("web-1", {"port": 80, "tags": {"kuma.io/service": "web"}}, {"port": 81}))

    assert [inbound.tags.get("kuma.io/zone") for inbound in await inbounds(user)] == ["default", None]


@pytest.mark.parametrize(
    "networking, expected",
    [
        ({}, {"kuma.io/proxy-type": "sidecar"}),
        ({"gateway": {"tags": {"kuma.io/service": "e"}}}, {"kuma.io/proxy-type": "sidecar"}),
        ({"gateway": {"type": "BUILTIN", "tags": {"kuma.io/service": "e"}}}, {"kuma.io/proxy-type": "gateway"}),
        (
            {"listeners": [{"type": "ZoneEgress", "address": "10.0.0.1", "port": 10002}]},
            {"kuma.io/proxy-type": "sidecar", "kuma.io/listener-zoneegress": "enabled"},
        ),
        (
            {"listeners": [{"type": "ZoneIngress", "address": "10.0.0.1", "port": 10001}]},
            {"kuma.io/proxy-type": "sidecar", "kuma.io/listener-zoneingress": "enabled"},
        ),
    ],
)
async def test_labels_tell_what_sort_of_proxy_it_is(user, networking, expected):
    """Whatever the user wrote there; policies select proxies by them."""
    document = dataplane(labels={"kuma.io/proxy-type": "mine"}) | {"networking": {"address": "10.0.0.1", **networking}}
    await user.put(document)

    labels = (await user.get("Dataplane", "web-1")).meta.labels

    assert labels == expected | {
        "kuma.io/env": "universal",
        "kuma.io/mesh": "default",
        "kuma.io/origin": "zone",
        "kuma.io/zone": "default",
    }


async def test_a_probed_inbound_waits_for_its_first_probe(user):
    """Traffic is sent there only once the application answered; others serve at once."""
    await user.put(dataplane("web-1", PROBED, {"port": 81}))

    assert await state(user) == ("NotReady", False)
    assert (await inbounds(user))[1].state.value == "Ready"


async def test_what_probes_found_outlives_an_update(user):
    """Applying a changed file does not take a serving proxy out of service."""
    await user.put(dataplane("web-1", PROBED))
    await probe_succeeds(user)

    await user.put(dataplane("web-1", {**PROBED, "protocol": "http"}))

    assert (await inbounds(user))[0].protocol == "http"
    assert await state(user) == ("Ready", True)


async def test_another_port_waits_for_its_own_probe(user):
    """What was found about one port says nothing about another."""
    await user.put(dataplane("web-1", PROBED))
    await probe_succeeds(user)

    await user.put(dataplane("web-1", {**PROBED, "port": 8080}))

    assert await state(user) == ("NotReady", False)


async def test_ignored_is_the_users_word(user):
    """Probes neither set nor lift it; taken back, the inbound waits for its probe."""
    await user.put(dataplane("web-1", PROBED))
    await probe_succeeds(user)

    await user.put(dataplane("web-1", {**PROBED, "state": "Ignored"}))
    assert (await state(user))[0] == "Ignored"

    await user.put(dataplane("web-1", PROBED))
    assert await state(user) == ("NotReady", False)


async def test_without_a_probe_the_user_decides(user):
    """Readiness is then what the document says."""
    await user.put(dataplane("web-1", {"port": 80, "state": "NotReady"}))
    assert await state(user) == ("NotReady", None)

    await user.put(dataplane("web-1", {"port": 80}))
    assert await state(user) == ("Ready", None)


async def test_an_unchanged_proxy_with_probes_makes_no_write(user):
    """A proxy that reconnects with the same file moves nothing, whatever its health is by now."""
    await user.put(dataplane("web-1", PROBED))
    await probe_succeeds(user)
    revision = await user.resources.revision()

    await user.put(dataplane("web-1", PROBED))

    assert await user.resources.revision() == revision


async def test_a_proxy_belongs_to_its_mesh(user):
    """It goes when the mesh goes."""
    await user.put(dataplane())

    assert (await user.store.get(KEY)).owner == MESH


async def test_a_workload_label_has_to_be_a_dns_label(user):
    """Identities are made of it."""
    error = await user.refused(dataplane(labels={"kuma.io/workload": "Web_1"}))

    assert [found.field for found in error.violations] == ['labels["kuma.io/workload"]']


async def test_a_mesh_says_who_may_join(user):
    """One of its requirements has to hold and no restriction may, for every service of the proxy."""
    rules = {
        "requirements": [{"tags": {"team": "a"}}, {"tags": {"team": "b", "kuma.io/zone": "*"}}],
        "restrictions": [{"tags": {"kuma.io/service": "evil"}}],
    }
    await user.put(mesh(constraints={"dataplaneProxy": rules}))

    def offering(service, **tags):
        return {"port": 80, "tags": {"kuma.io/service": service, **tags}}

    await user.put(dataplane("web-1", offering("web", team="b")))
    error = await user.refused(dataplane("web-2", offering("web", team="a"), offering("evil", team="c") | {"port": 81}))
    assert error.title == "Failed to create a resource"
    assert [(field, reason.partition(")")[0].rpartition(".")[2]) for field, reason in told(error)] == [
        ("networking.inbound[1].tags", "requirements"),
        ("networking.inbound[1].tags", "restrictions"),
    ]
    edge = {"address": "10.0.0.1", "gateway": {"tags": {"kuma.io/service": "edge"}}}
    error = await user.refused(dataplane("edge") | {"networking": edge})
    assert [field for field, _ in told(error)] == ["networking.gateway.tags"]

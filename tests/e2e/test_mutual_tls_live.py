"""Mutual TLS is switched on, made strict, given a new CA and new certificates while twenty calls a second go on."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme

from tests.e2e.harness import clients, documents
from tests.e2e.harness.documents import Inbound, builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.load import Load
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import wait_until


def caller_seen(port: int) -> str:
    """Who the service saw calling: ``plain`` without mutual TLS, else the identity in the certificate."""
    answer = clients.http1_answer(port)
    if answer.status != 200:
        raise clients.CallFailed(f"{answer.status} {answer.body[:200]}")
    identities = [part for part in answer.headers["x-seen-identity"].split(";") if part.startswith("URI=spiffe:")]
    return identities[0].removeprefix("URI=") if identities else "plain"


def certificate(lab: Lab, name: str, mesh: str) -> dict[str, Any]:
    """What the overview says of a proxy's certificate."""
    shown: dict[str, Any] = lab.control_plane.overview(name, mesh)["dataplaneInsight"].get("mTLS", {})
    return shown


def instance(lab: Lab, name: str, mesh: str) -> Proxy:
    """
    An instance of the services ``backend`` and ``raw``, started.

    Calls to ``backend`` share connections between proxies; each call to ``raw`` has a connection, and a handshake, of
    its own.
    """
    web, raw = lab.http(name), lab.tcp(name)
    inbounds = [Inbound("backend", "http", free_port(), web.port), Inbound("raw", "tcp", free_port(), raw.port)]
    return lab.proxy(name, mesh=mesh, inbounds=inbounds).start()


def pair(lab: Lab, mesh: str) -> tuple[Proxy, Proxy]:
    """Services with two instances, and who calls them; the caller and an instance."""
    first = instance(lab, "backend-1", mesh)
    instance(lab, "backend-2", mesh)
    caller = lab.proxy("caller", mesh=mesh, calls=["backend", "raw"]).start()
    wait_until(lambda: clients.http1(caller.outbound("backend")), "the service answers")
    wait_until(lambda: clients.tcp(caller.outbound("raw")), "the other service answers")
    return caller, first


@contextmanager
def calls(caller: Proxy) -> Iterator[Load]:
    """Twenty calls a second to each service, none of which may fail; gives the load that tells who was seen calling."""
    with (
        Load(lambda: caller_seen(caller.outbound("backend"))) as load,
        Load(lambda: clients.tcp(caller.outbound("raw"))) as handshakes,
    ):
        yield load
    load.assert_no_failure()
    handshakes.assert_no_failure()


NAMES = ("backend-1", "backend-2", "caller")


@pytest.mark.timeout(150)
def test_off_to_permissive_to_strict(lab: Lab):
    """From plain text to PERMISSIVE to STRICT: no call fails, and in the end nobody gets in without a certificate."""
    lab.mesh(documents.mesh("turned"))
    lab.mesh(permission("turned", "everyone"))
    caller, first = pair(lab, "turned")

    with calls(caller) as load:
        load.run_for(20)
        load.mark("PERMISSIVE")
        lab.mesh(documents.mesh("turned", builtin("ca-1", mode="PERMISSIVE")))
        wait_until(lambda: load.answered_by("spiffe://turned/caller") > 40, "calls use mutual TLS", explain=load.story)
        plain = load.answered_by("plain")
        load.run_for(20)
        assert load.answered_by("plain") == plain, load.story()
        assert clients.http1(first.inbounds[0].port), "PERMISSIVE lets plain text in"
        load.mark("STRICT")
        lab.mesh(documents.mesh("turned", builtin("ca-1", mode="STRICT")))
        wait_until(lambda: is_closed(first), "plain text is no longer let in", explain=load.story)
        load.run_for(40)


def is_closed(proxy: Proxy) -> bool:
    """Whether the inbound refuses plain text."""
    try:
        clients.http1(proxy.inbounds[0].port)
    except clients.CallFailed:
        return True
    return False


@pytest.mark.timeout(150)
def test_live_change_of_the_authority(lab: Lab):
    """From ca-1 to ca-2: no call fails, ca-1 cannot be removed while it is in use, and can afterwards."""
    one, two = builtin("ca-1"), builtin("ca-2")
    lab.mesh(documents.mesh("rotating", one))
    lab.mesh(permission("rotating", "everyone"))
    caller, _ = pair(lab, "rotating")

    with calls(caller) as load:
        load.run_for(20)
        load.mark("ca-2 is trusted")
        lab.mesh(documents.mesh("rotating", one, two))
        for name in NAMES:
            wait_until(
                lambda name=name: "ca-2" in certificate(lab, name, "rotating")["supportedBackends"],
                f"{name} trusts ca-2",
            )
        load.run_for(20)
        early = lab.control_plane.kumactl.run("apply", "-f", "-", stdin=documents.mesh("rotating", two))
        assert early.code == 1, "ca-1 is in use"
        assert "ca-1" in early.err
        load.mark("ca-2 issues")
        lab.mesh(documents.mesh("rotating", one, two, enabled="ca-2"))
        for name in NAMES:
            wait_until(
                lambda name=name: certificate(lab, name, "rotating")["issuedBackend"] == "ca-2",
                f"{name} has a new leaf",
            )
        load.run_for(20)
        load.mark("ca-1 is removed")
        removed = wait_until(
            lambda: lab.control_plane.kumactl.run("apply", "-f", "-", stdin=documents.mesh("rotating", two)).code == 0,
            "ca-1 can be removed",
        )
        assert removed
        for name in NAMES:
            wait_until(
                lambda name=name: certificate(lab, name, "rotating")["supportedBackends"] == ["ca-2"],
                f"{name} trusts ca-2 only",
            )
        load.run_for(40)

    assert "spiffe://rotating/caller" in load.answers
    dump = lab.control_plane.api.request("GET", "/meshes/rotating/dataplanes/caller/xds").json
    assert "dynamic_warming_secrets" not in json.dumps(dump)


@pytest.mark.parametrize("variant", ["DELTA_GRPC", "GRPC"])
@pytest.mark.timeout(150)
def test_hasty_change_of_the_authority(lab: Lab, variant: str):
    """A new CA that is trusted and made to issue in one step: no call fails, because leaves wait for the trust."""
    lab.proxy_env["KUMA_DATAPLANE_RUNTIME_ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT"] = variant
    mesh = f"hasty-{variant[:5].lower().strip('_')}"
    one, two = builtin("ca-1"), builtin("ca-2")
    lab.mesh(documents.mesh(mesh, one))
    lab.mesh(permission(mesh, "everyone"))
    caller, _ = pair(lab, mesh)

    with calls(caller) as load:
        load.run_for(10)
        load.mark("ca-2 is added and issues")
        lab.mesh(documents.mesh(mesh, one, two, enabled="ca-2"))
        for name in NAMES:
            wait_until(
                lambda name=name: certificate(lab, name, mesh)["issuedBackend"] == "ca-2", f"{name} has a new leaf"
            )
        load.run_for(20)


def test_provided_authority(lab: Lab):
    """With a CA of the user's own, calls use mutual TLS under it."""
    authority = trustme.CA()
    lab.mesh(documents.mesh("provided", documents.provided("theirs", authority)))
    lab.mesh(permission("provided", "everyone"))
    caller, _ = pair(lab, "provided")

    assert caller_seen(caller.outbound("backend")) == "spiffe://provided/caller"
    wait_until(
        lambda: certificate(lab, "caller", "provided")["issuedBackend"] == "theirs", "the backend is in the overview"
    )
    dump = json.dumps(lab.control_plane.api.get("/meshes/provided/dataplanes/caller/xds"))
    assert base64.b64encode(authority.cert_pem.bytes()).decode() in dump, "its root is what proxies trust"


@pytest.mark.timeout(180)
def test_certificates_that_live_a_minute_are_renewed(lab: Lab):
    """Leaves of 60 s are renewed before they end: calls go on well past the end of the first ones."""
    lab.mesh(documents.mesh("brief", builtin("ca-1", leaf="60s")))
    lab.mesh(permission("brief", "everyone"))
    caller, _ = pair(lab, "brief")
    first = {
        name: wait_until(lambda name=name: certificate(lab, name, "brief"), f"the certificate of {name} is shown")
        for name in NAMES
    }
    last_end = max(datetime.fromisoformat(shown["certificateExpirationTime"]) for shown in first.values())

    with calls(caller) as load:
        wait_until(lambda: datetime.now(UTC) > last_end, "the first certificates' end", seconds=70, pause=0.5)
        load.mark("the first certificates have ended")
        load.run_for(40)

    for name in NAMES:
        shown = certificate(lab, name, "brief")
        assert shown["certificateRegenerations"] >= 2
        assert datetime.fromisoformat(shown["certificateExpirationTime"]) > last_end

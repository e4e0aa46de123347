"""Who may join, whom a proxy trusts, and what it is told when the answer is no."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from tests.e2e.harness import documents
from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.proxy import Given, Proxy
from tests.e2e.harness.waiting import stays, wait_until


def tampered(control_plane: ControlPlane) -> str:
    """A token whose signature is not the control plane's."""
    head, payload, signature = control_plane.token("backend-1", "default").split(".")
    return ".".join((head, payload, signature[:20] + ("A" * 20) + signature[40:]))


def of_other_mesh(control_plane: ControlPlane) -> str:
    """A token for the same name, but another mesh."""
    control_plane.kumactl.apply(documents.mesh("other"))
    return control_plane.token("backend-1", "other")


def expired(control_plane: ControlPlane) -> str:
    """A token whose time is over."""
    token = control_plane.token("backend-1", "default", valid_for="1s")
    ends = time.monotonic() + 1.1
    wait_until(lambda: time.monotonic() > ends, "the token's end")
    return token


def of_other_service(control_plane: ControlPlane) -> str:
    """A token for proxies of the service ``payments``."""
    return control_plane.token("", "default", "--tag", "kuma.io/service=payments")


def of_other_name(control_plane: ControlPlane) -> str:
    """A token for a proxy of another name."""
    return control_plane.token("backend-9", "default")


def revoked(control_plane: ControlPlane) -> str:
    """A token that was taken back."""
    token = control_plane.token("backend-1", "default")
    jti = jwt.decode(token, options={"verify_signature": False})["jti"]
    data = base64.b64encode(jti.encode()).decode()
    control_plane.kumactl.apply(
        f"type: Secret\nmesh: default\nname: dataplane-token-revocations-default\ndata: {data}\n"
    )
    return token


REFUSALS = [
    pytest.param(tampered, "authentication failed: could not parse token", id="wrong signature"),
    pytest.param(of_other_mesh, "authentication failed: could not parse token", id="token of another mesh"),
    pytest.param(expired, "authentication failed: could not parse token: token is expired", id="expired token"),
    pytest.param(
        of_other_service,
        'dataplane contains tag "kuma.io/service" with value "backend" which is not allowed with this token. '
        'Allowed values in token are ["payments"]',
        id="token bound to another service",
    ),
    pytest.param(
        of_other_name,
        "proxy name from requestor: backend-1 is different than in token: backend-9",
        id="token bound to another name",
    ),
    pytest.param(revoked, "token is revoked", id="revoked token"),
]


@pytest.mark.parametrize("token, reason", REFUSALS)
def test_refused_proxy_is_told_why(lab: Lab, token: Callable[[ControlPlane], str], reason: str):
    """A proxy whose token does not allow it gets no configuration; both logs say why, in auth.md's words."""
    control_plane = lab.control_plane
    seen = control_plane.program.log().count(reason)
    application = lab.http("backend-1")
    proxy = lab.service("backend-1", application, "http", service="backend", token=token(control_plane))

    proxy.launch()

    line = proxy.program.wait_for_log(reason)
    assert "authentication failed: " in line
    wait_until(
        lambda: control_plane.program.log().replace("\\", "").count(reason) > seen,
        "the reason in the control plane's log",
        explain=control_plane.program.tail,
    )
    assert control_plane.api.request("GET", "/meshes/default/dataplanes/backend-1").status == 404
    assert not proxy.online


def test_fingerprint_in_the_token_replaces_the_ca_file(lab: Lab):
    """With no CA file the proxy verifies the control plane by what its token says, and joins."""
    proxy = lab.proxy("by-fingerprint").start()

    assert proxy.online
    assert "--ca-cert-file" not in " ".join(proxy.program.arguments)
    assert "--skip-verify" not in " ".join(proxy.program.arguments)


def offline_token(control_plane: ControlPlane, directory: Path) -> str:
    """A token the control plane accepts but did not make: it names no CA."""
    secret = control_plane.api.get("/meshes/default/secrets/dataplane-token-signing-key-default-1")
    key = directory / "signing-key.pem"
    key.write_bytes(base64.b64decode(secret["data"]))
    return control_plane.token("", "default", "--signing-key-path", str(key), "--kid", "1")


def unverifiable(lab: Lab, name: str, *flags: str) -> Proxy:
    """A proxy whose token says nothing of the CA."""
    return lab.proxy(name, token=offline_token(lab.control_plane, lab.directory), flags=flags)


def test_where_nothing_can_be_verified_the_proxy_refuses_and_names_the_ways_out(lab: Lab):
    """No fingerprint, no CA file, a self-signed control plane: no token is sent, and the message says what helps."""
    proxy = unverifiable(lab, "unverifiable").launch()

    assert proxy.program.wait(seconds=15) != 0
    log = proxy.program.log()
    assert "cannot verify the control plane" in log
    assert "kumactl generate dataplane-token" in log
    assert "--ca-cert-file" in log
    assert "--skip-verify" in log


def test_ca_file_is_a_way_out(lab: Lab):
    """The same token joins with the control plane's CA in a file."""
    authority = lab.control_plane.directory / "work" / "ca.crt"
    wait_until(authority.exists, "the CA of the control plane in its work directory", seconds=2)

    assert unverifiable(lab, "by-file", f"--ca-cert-file={authority}").start().online


def test_skip_verify_is_a_way_out(lab: Lab):
    """The same token joins when the user says that nothing need be verified."""
    assert unverifiable(lab, "by-faith", "--skip-verify").start().online


def test_another_control_plane_is_not_trusted(lab: Lab):
    """A token of one control plane does not make a proxy trust another one: it refuses and sends nothing."""
    ours = lab.control_plane
    theirs = lab.own_control_plane()
    proxy = lab.proxy("backend-1", token=ours.token("backend-1", "default")).launch()

    assert proxy.program.wait(seconds=15) != 0
    assert "CA fingerprint in the token" in proxy.program.log()
    stays(lambda: not theirs.online("backend-1"), "not joined", seconds=0.3)


def test_two_proxies_of_one_host_need_no_setting(lab: Lab):
    """The default readiness port is shared out: a second proxy on a host picks a free one."""
    first = lab.proxy("neighbour-1", env={"KUMA_READINESS_PORT": ""})
    second = lab.proxy("neighbour-2", env={"KUMA_READINESS_PORT": ""})
    for proxy in (first, second):
        proxy.launch()
    for proxy in (first, second):
        wait_until(lambda proxy=proxy: proxy.online, f"{proxy.name} has joined", explain=proxy.program.tail)


def test_proxy_without_a_resource_waits_for_its_dataplane(lab: Lab):
    """``--name`` and ``--mesh`` instead of a file: the proxy waits until its Dataplane is applied, then joins."""
    proxy = lab.proxy("by-name", given=Given.NAME).launch()
    proxy.program.wait_for_log("cannot join yet")
    lab.control_plane.kumactl.apply(proxy.resource.read_text())

    proxy.wait_ready()

    proxy.drain()
    stays(
        lambda: lab.control_plane.api.request("GET", "/meshes/default/dataplanes/by-name").status == 200,
        "a Dataplane that a user applied is not the proxy's to remove",
        seconds=1,
    )


def test_dataplane_from_standard_input_with_variables(lab: Lab):
    """``--dataplane-file=-`` with ``--dataplane-var`` gives a proxy its name."""
    proxy = lab.proxy("by-template", given=Given.TEMPLATE_ON_STDIN).start()

    assert proxy.online


def test_dataplane_as_text(lab: Lab):
    """``--dataplane`` takes the definition itself."""
    proxy = lab.proxy("by-text", given=Given.TEXT).start()

    assert proxy.online


@pytest.mark.timeout(150)
def test_token_file_that_is_replaced_counts_without_a_restart(lab: Lab):
    """Where Envoy may read the file: a refused proxy joins once its file holds a good token, and comes back with it."""
    own = lab.own_control_plane({"KUMA_DP_SERVER_AUTHN_ENABLE_RELOADABLE_TOKENS": "true"})
    proxy = lab.proxy("reloaded", token=own.token("somebody-else", "default")).launch()
    own.program.wait_for_log("is different than in token: somebody-else")

    proxy.token_file.write_text(own.token("reloaded", "default") + "\n")

    proxy.program.wait_for_log("the token file changed")
    proxy.wait_ready(seconds=60)
    own.kill()
    own.start()
    wait_until(lambda: proxy.online, "connected again", seconds=40)

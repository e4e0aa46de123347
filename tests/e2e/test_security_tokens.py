"""Tokens of proxies with real proxies: revoked ones, those signed elsewhere, none at all; and who may be in a mesh."""

from __future__ import annotations

import base64
import json
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.kumactl import Kumactl
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.waiting import stays, wait_until

pytestmark = pytest.mark.timeout(120)

WITHIN = 10.0
"""Seconds from a revocation to the end of the streams it concerns."""


def revoke(control_plane: ControlPlane, token: str) -> None:
    """As an administrator does it."""
    jti = jwt.decode(token, options={"verify_signature": False})["jti"]
    control_plane.kumactl.apply(
        json.dumps(
            {
                "type": "Secret",
                "mesh": "default",
                "name": "dataplane-token-revocations-default",
                "data": base64.b64encode(jti.encode()).decode(),
            }
        )
    )


def trusting(control_plane: ControlPlane) -> tuple[str, str]:
    """What kuma-dp is told where its token names no CA."""
    return ("--ca-cert-file", str(control_plane.directory / "work" / "ca.crt"))


def test_revoked_token_disconnects_its_proxy_and_keeps_it_out(lab: Lab):
    """Within seconds the proxy is offline; its Envoy tries again and hears why; a proxy beside it notices nothing."""
    web = lab.service("web-1", lab.http("web"), "http", service="web").start()
    other = lab.service("db-1", lab.http("db"), "http", service="db").start()

    revoke(lab.control_plane, web.token_file.read_text())
    revoked = time.monotonic()
    wait_until(lambda: not web.online, "the proxy is offline", seconds=WITHIN)
    assert time.monotonic() - revoked < WITHIN

    web.program.wait_for_log("authentication failed: token is revoked", seconds=40)
    stays(lambda: other.online and not web.online, "one is out and the other in", seconds=2)
    lab.control_plane.program.wait_for_log("the token of a connected proxy is worth nothing any more")


def test_a_proxy_that_may_not_be_in_the_mesh_is_told_why(lab: Lab):
    """kuma-dp ends with the rule of the mesh that it does not meet; with the right tag it joins."""
    lab.mesh(
        textwrap.dedent("""
            type: Mesh
            name: guarded
            constraints:
              dataplaneProxy:
                requirements: [{tags: {team: a}}]
                restrictions: [{tags: {kuma.io/service: evil}}]
        """)
    )
    outsider = lab.service("web-1", lab.http("web"), "http", service="web", mesh="guarded").launch()

    assert outsider.program.wait(seconds=20) == 1
    said = outsider.program.log()
    assert 'mesh "guarded" takes only proxies with tags [team=a]' in said
    assert "[kuma.io/protocol=http kuma.io/service=web kuma.io/zone=default]" in said

    document = lab.control_plane.api.put(
        "/meshes/guarded/dataplanes/evil",
        {
            "type": "Dataplane",
            "mesh": "guarded",
            "name": "evil",
            "networking": {
                "address": "127.0.0.1",
                "inbound": [{"port": 80, "tags": {"kuma.io/service": "evil", "team": "a"}}],
            },
        },
    )
    assert document.status == 400
    [fault] = document.json["invalid_parameters"]
    assert fault["field"] == "networking.inbound[0].tags"
    assert fault["reason"].startswith('mesh "guarded" takes no proxies with tags [kuma.io/service=evil]')


def test_without_authentication_of_proxies_none_needs_a_token(lab: Lab):
    """``dpServer.authn.dpProxy.type: none`` is for tests, and kuma-cp says so at every start."""
    control_plane = lab.own_control_plane({"KUMA_DP_SERVER_AUTHN_DP_PROXY_TYPE": "none"})

    lab.proxy("web-1", token="", flags=trusting(control_plane)).start()

    control_plane.program.wait_for_log("whoever reaches the data plane port may join as any proxy")


def test_with_authentication_a_proxy_needs_one(lab: Lab):
    """By default; kuma-dp ends and says how to get a token."""
    proxy = lab.proxy("tokenless", token="", flags=trusting(lab.control_plane)).launch()

    assert proxy.program.wait(seconds=20) == 1
    assert "Dataplane Token is required. Make one with 'kumactl generate dataplane-token'" in proxy.program.log()


PUBLIC_KEYS = """
apiServer:
  authn:
    tokens:
      bootstrapAdminToken: false
      enableIssuer: false
      validator:
        useSecrets: false
        publicKeys:
          - kid: users-2026
            keyFile: {public}
dpServer:
  authn:
    dpProxy:
      dpToken:
        enableIssuer: false
        validator:
          useSecrets: false
          publicKeys:
            - kid: proxies
              mesh: default
              key: |
{inline}
    zoneProxy:
      zoneToken:
        enableIssuer: false
"""


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[tuple[Path, Path, Kumactl]]:
    """A signing key and its public key, made with kumactl on a machine that knows no control plane."""
    home = tmp_path / "offline"
    home.mkdir()
    kumactl = Kumactl(home, {})
    private, public = home / "key.pem", home / "public.pem"
    private.write_text(kumactl("generate", "signing-key", "--format=pem"))
    public.write_text(kumactl("generate", "public-key", f"--signing-key-path={private}"))
    return private, public, kumactl


def test_tokens_signed_elsewhere_are_accepted_and_no_others(lab: Lab, keys: tuple[Path, Path, Kumactl]):
    """The control plane has public keys only: it issues nothing, knows no signing key, and trusts what they verify."""
    private, public, kumactl = keys
    sign = (f"--signing-key-path={private}", "--valid-for=1h")
    config = PUBLIC_KEYS.format(public=public, inline=textwrap.indent(public.read_text(), " " * 16))
    control_plane = lab.own_control_plane(config=config)
    api = control_plane.api

    for path, body in (
        ("user", {"name": "x", "validFor": "1h"}),
        ("dataplane", {"mesh": "default"}),
        ("zone", {"scope": ["egress"]}),
    ):
        answer = api.post(f"/tokens/{path}", body)
        assert (answer.status, answer.json["title"]) == (400, "Could not issue a token")
        assert answer.json["detail"] == "issuing tokens using the control plane is disabled."
    assert api.request("GET", "/global-secrets/admin-user-token").status == 404
    assert "admin user token" not in control_plane.program.log()

    user = kumactl("generate", "user-token", "--name=john", "--group=team-a", "--kid=users-2026", *sign)
    remote = {"x-forwarded-for": "somewhere else"}
    for token, status in ((user, 200), (kumactl("generate", "user-token", "--name=x", "--kid=1", *sign), 401)):
        answer = api.request("GET", "/who-am-i", headers={**remote, "authorization": f"Bearer {token}"})
        assert answer.status == status, answer.text
    assert api.request("GET", "/who-am-i", headers={**remote, "authorization": f"Bearer {user}"}).json == {
        "name": "john",
        "groups": ["team-a", "mesh-system:authenticated"],
    }

    ca = trusting(control_plane)
    good = kumactl("generate", "dataplane-token", "--name=web-1", "--mesh=default", "--kid=proxies", *sign)
    lab.proxy("web-1", token=good, flags=ca).start()

    lab.mesh("type: Mesh\nname: other\n")
    foreign = kumactl("generate", "dataplane-token", "--name=web-2", "--mesh=other", "--kid=proxies", *sign)
    stranger = lab.proxy("web-2", mesh="other", token=foreign, flags=ca).launch()
    stranger.program.wait_for_log("no public key with KID proxies is configured", seconds=40)

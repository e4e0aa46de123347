"""Who may do what at the REST API, when being on the same machine is no privilege."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.kumactl import Kumactl
from tests.e2e.harness.waiting import wait_until

ADMIN = "mesh-system:admin"


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane to which callers of this machine are strangers; its admin token was read before."""
    control_plane = ControlPlane(tmp_path_factory.mktemp("access") / "control-plane")
    try:
        yield control_plane.start()
        control_plane.assert_healthy_log()
    finally:
        control_plane.close()


@pytest.fixture(scope="module")
def admin(control_plane: ControlPlane) -> str:
    """The admin's token; afterwards the control plane runs without the privilege of the local machine."""
    secret = control_plane.api.get("/global-secrets/admin-user-token")
    control_plane.stop()
    control_plane.change(KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN="false")
    control_plane.start()
    return base64.b64decode(secret["data"]).decode()


def kumactl(control_plane: ControlPlane, home: Path, token: str, *flags: str) -> Kumactl:
    """A kumactl that says who it is, over HTTPS."""
    tool = Kumactl(home, {})
    tool(
        "config", "control-planes", "add", "--name", "it", "--address", f"https://localhost:{control_plane.https_port}",
        "--ca-cert-file", str(control_plane.directory / "work" / "ca.crt"),
        *(("--auth-type", "tokens", "--auth-conf", f"token={token}") if token else ()), *flags,
    )  # fmt: skip
    return tool


def test_admin_token_opens_everything(control_plane: ControlPlane, admin: str, tmp_path: Path):
    """With the admin's token, over HTTPS verified by the control plane's CA, secrets and tokens are there."""
    tool = kumactl(control_plane, tmp_path, admin)

    assert "admin-user-token" in tool("get", "global-secrets")
    assert tool("generate", "user-token", "--name", "john", "--group", "team-a", "--valid-for", "1h").count(".") == 2


def test_stranger_sees_no_secret_and_gets_no_token(control_plane: ControlPlane, admin: str, tmp_path: Path):
    """Without a token meshes are read, secrets are not, and no token is issued; the reason names who asked."""
    tool = kumactl(control_plane, tmp_path, "")

    assert "default" in tool("get", "meshes")
    for arguments in (
        ("get", "secrets"),
        ("generate", "dataplane-token", "--name", "x", "--valid-for", "1h"),
        ("generate", "user-token", "--name", "x", "--valid-for", "1h"),
    ):
        refused = tool.run(*arguments)
        assert refused.code == 1
        assert "Access Denied" in refused.err
    assert "mesh-system:anonymous" in tool.run("get", "secrets").err


def test_user_is_who_the_token_says(control_plane: ControlPlane, admin: str, tmp_path: Path):
    """A user's token gives name and groups, and no more rights than those have."""
    token = kumactl(control_plane, tmp_path, admin)(
        "generate", "user-token", "--name", "john", "--group", "team-a", "--valid-for", "1h"
    )

    answer = control_plane.api.request("GET", "/who-am-i", headers={"authorization": f"Bearer {token}"})
    assert answer.json == {"name": "john", "groups": ["team-a", "mesh-system:authenticated"]}
    denied = control_plane.api.request("GET", "/global-secrets", headers={"authorization": f"Bearer {token}"})
    assert denied.status == 403
    assert "john/team-a" in denied.json["detail"]


def test_revoked_token_is_refused_at_once(control_plane: ControlPlane, admin: str, tmp_path: Path):
    """A token in the list of revocations is worth nothing any more: 401."""
    tool = kumactl(control_plane, tmp_path, admin)
    token = tool("generate", "user-token", "--name", "jane", "--valid-for", "1h")
    header = {"authorization": f"Bearer {token}"}
    assert control_plane.api.request("GET", "/who-am-i", headers=header).status == 200

    jti = jwt.decode(token, options={"verify_signature": False})["jti"]
    revocations = {
        "type": "GlobalSecret",
        "name": "user-token-revocations",
        "data": base64.b64encode(jti.encode()).decode(),
    }
    tool.apply(json.dumps(revocations))

    wait_until(lambda: control_plane.api.request("GET", "/who-am-i", headers=header).status == 401, "refused")


@pytest.mark.parametrize("token", ["nonsense", "a.b.c"])
def test_bad_token_is_no_stranger_but_refused(control_plane: ControlPlane, admin: str, token: str):
    """Who shows a token that is none is told so: 401, not a stranger's view."""
    answer = control_plane.api.request("GET", "/meshes", headers={"authorization": f"Bearer {token}"})

    assert answer.status == 401
    assert answer.json["title"] == "Invalid authentication data"


def test_secrets_are_not_in_the_configuration_shown(control_plane: ControlPlane, admin: str):
    """``GET /config`` shows settings, and no key and no password."""
    shown = control_plane.api.request("GET", "/config").text

    assert "PRIVATE KEY" not in shown
    assert json.loads(shown)["store"]["type"] == "sqlite"

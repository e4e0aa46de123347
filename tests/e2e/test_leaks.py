"""
Nothing secret is where it does not belong.

Unique secrets are planted wherever the product takes or makes one, everything runs at debug level and goes through good
and bad requests, and then everything that others may see is searched for them: logs, settings, metrics, dumps, lists,
error answers, the history, arguments and titles of all processes, and files that others may read.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kuma.cp.ca.authority import new_root
from tests.e2e.harness import documents
from tests.e2e.harness.certificates import Company, https
from tests.e2e.harness.clients import http1
from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.kumactl import Kumactl
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.waiting import wait_until

PLANTED = "planted-0b5c"
PASSWORD = f"{PLANTED}-postgres-password"
KEY = base64.b64encode(b"planted-0b5c-store-key-32-bytes!").decode()
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
VALUE, GLOBAL_VALUE, REFUSED_VALUE = (f"{PLANTED}-{name}" for name in ("secret-value", "global-value", "refused-value"))


@dataclass
class Hunt:
    """What must not be found, and where it was looked for."""

    secrets: dict[str, bytes] = field(default_factory=dict)
    places: int = 0
    found: list[str] = field(default_factory=list)

    def hide(self, what: str, value: str | bytes) -> None:
        """A secret: it counts as it is, and in the ways in which programs write it."""
        raw = value.encode() if isinstance(value, str) else value
        self.secrets[what] = raw
        self.secrets[f"{what} as base64"] = base64.b64encode(raw).rstrip(b"=")[:-2]
        self.secrets[f"{what} in JSON"] = json.dumps(raw.decode(errors="replace")).strip('"').encode()

    def hide_pem(self, what: str, pem: bytes) -> None:
        """A private key: each line of it counts."""
        for number, line in enumerate(pem.splitlines()):
            if len(line) > 40 and b"-----" not in line:
                self.secrets[f"{what}, line {number}"] = line
        self.secrets[f"{what} as base64"] = base64.b64encode(pem)[60:140]

    def look(self, where: str, content: bytes) -> None:
        self.places += 1
        for what, secret in self.secrets.items():
            if (at := content.find(secret)) >= 0:
                self.found.append(f"{what} is in {where}, after {content[max(0, at - 80) : at]!r}")


def secret(kind: str, name: str, value: str | bytes, mesh: str = "") -> dict[str, object]:
    """A Secret or GlobalSecret."""
    raw = value.encode() if isinstance(value, str) else value
    document = {"type": kind, "name": name, "data": base64.b64encode(raw).decode()}
    return {**document, "mesh": mesh} if mesh else document


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """The operator's own CA."""
    return Company(tmp_path / "company")


@pytest.fixture
def control_plane(tmp_path: Path, company: Company) -> Iterator[ControlPlane]:
    """One with every secret that settings can hold, at debug level."""
    settings = {
        "KUMA_STORE_ENCRYPTION_KEY": KEY,
        "KUMA_STORE_POSTGRES_PASSWORD": PASSWORD,
        "KUMA_GENERAL_TLS_CERT_FILE": str(company.cert),
        "KUMA_GENERAL_TLS_KEY_FILE": str(company.key),
    }
    made = ControlPlane(tmp_path / "control-plane", settings, flags=("--log-level", "debug"))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def lab(tmp_path: Path, control_plane: ControlPlane) -> Iterator[Lab]:
    """Proxies of that control plane."""
    made = Lab(tmp_path / "proxies", lambda: control_plane)
    try:
        yield made
    finally:
        made.close()


def plant(hunt: Hunt, control_plane: ControlPlane, company: Company) -> None:
    """Secrets in every place that takes or makes one, as the administrator on the control plane's host."""
    hunt.hide("the Postgres password", PASSWORD)
    hunt.hide("the encryption key", KEY)
    hunt.hide("the encryption key itself", base64.b64decode(KEY))
    hunt.hide_pem("the server's key", company.key.read_bytes())
    authority = company_authority()
    hunt.hide_pem("the key of the mesh's CA", authority[1])
    for document in (
        secret("GlobalSecret", "planted", GLOBAL_VALUE),
        secret("Secret", "planted", VALUE, "default"),
        secret("Secret", "ca-cert", authority[0], "default"),
        secret("Secret", "ca-key", authority[1], "default"),
    ):
        control_plane.kumactl.apply(json.dumps(document))
    backend = {"name": "mine", "type": "provided", "conf": {"cert": {"secret": "ca-cert"}, "key": {"secret": "ca-key"}}}
    control_plane.kumactl.apply(documents.mesh("default", backend))
    control_plane.kumactl.apply(documents.mesh("other", documents.builtin("theirs")))
    control_plane.kumactl.apply(documents.permission("default", "everybody"))
    for path in ("/global-secrets", "/secrets"):
        for item in control_plane.api.get(f"{path}?size=1000")["items"]:
            hide_stored(hunt, f"{item['type']} {item['name']}", base64.b64decode(item["data"]))


def hide_stored(hunt: Hunt, what: str, value: bytes) -> None:
    """What is in a secret of the store."""
    if found := PRIVATE_KEY.search(value):
        hunt.hide_pem(what, found[0])
    elif b"CERTIFICATE" not in value:
        hunt.hide(what, value)


def company_authority() -> tuple[bytes, bytes]:
    """A CA for a mesh, and its key."""
    pair = new_root(
        common_name="mine", unit="x", uri="spiffe://default", lifetime=timedelta(days=1), now=datetime.now(UTC)
    )
    return pair.certificate, pair.key


def signature(token: str) -> str:
    """The part of a token that nobody can guess."""
    return token.rpartition(".")[2]


def ask(control_plane: ControlPlane, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request and all of its answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = control_plane.api.request(method, path, body, {"content-type": "application/json", **named})
    return f"{answer.status} {dict(answer.headers)}".encode() + answer.body


def misbehave(hunt: Hunt, control_plane: ControlPlane, company: Company, token: str, john: str) -> None:
    """Requests that are refused, each with a secret in it."""
    hunt.hide("a value that was refused", REFUSED_VALUE)
    admin = {"authorization": f"Bearer {token}"}
    half = base64.b64encode(REFUSED_VALUE.encode()).decode()[:-3]
    broken = (
        json.dumps({"type": "Secret", "mesh": "default", "name": "x", "data": half + "!"}),
        json.dumps({"type": "Secret", "mesh": "default", "name": "x", "data": [REFUSED_VALUE]}),
        json.dumps({"type": "Secret", "mesh": "default", "name": "x", "dat": REFUSED_VALUE}),
        json.dumps({"type": "Secret", "mesh": "default", "name": "X X", "data": REFUSED_VALUE}),
        f'{{"type": "Secret", "mesh": "default", "name": "x", "data": "{REFUSED_VALUE}',
        f'{{"type": "Secret", "mesh": "default", "name": "x", "data": {REFUSED_VALUE}}}',
        f'["{REFUSED_VALUE}"]',
    )
    for headers in ({}, admin):
        for body in broken:
            for path in ("/meshes/default/secrets/x", "/meshes/nowhere/secrets/x", "/global-secrets/x"):
                hunt.look(f"the answer to PUT {path}", ask(control_plane, "PUT", path, body.encode(), **headers))
    for number, bad in enumerate((REFUSED_VALUE, f"{REFUSED_VALUE}.a.b", john[:-9] + "AAAAAAAAA", john + "A")):
        for path in ("/meshes", "/global-secrets", "/who-am-i"):
            answer = ask(control_plane, "GET", path, authorization=f"Bearer {bad}")
            assert answer.startswith(b"401")
            hunt.look(f"the answer to bad token {number}", answer)
    for body in broken:
        result = control_plane.kumactl.run("apply", "-f", "-", stdin=body)
        hunt.look("what kumactl apply says", (result.out + result.err).encode())
    for body in (
        {"mesh": "default", "name": "web-9", "dataplaneToken": REFUSED_VALUE, "proxyType": "nonsense"},
        {"mesh": "nowhere", "name": "web-9", "dataplaneToken": REFUSED_VALUE},
        {"mesh": ["default"], "dataplaneToken": REFUSED_VALUE},
        {"mesh": "default", "name": "web-9", "dataplaneToken": REFUSED_VALUE, "dataplaneResource": REFUSED_VALUE},
    ):
        hunt.look("the answer to a bad bootstrap request", bootstrap(control_plane, company, json.dumps(body).encode()))
    hunt.look(
        "the answer to no JSON", bootstrap(control_plane, company, b'{"dataplaneToken": "' + REFUSED_VALUE.encode())
    )


def bootstrap(control_plane: ControlPlane, company: Company, body: bytes) -> bytes:
    """The answer to a bootstrap request."""
    answer = https(control_plane.dp_port, company.trusting(), "/bootstrap", "POST", body)
    return f"{answer.status} {dict(answer.headers)}".encode() + answer.body


def paths(control_plane: ControlPlane, token: str) -> list[str]:
    """Everything that can be asked for with GET."""
    admin = {"authorization": f"Bearer {token}"}
    kinds = control_plane.api.request("GET", "/_resources", headers=admin).json["resources"]
    found = [
        "/",
        "/config",
        "/_resources",
        "/policies",
        "/who-am-i",
        "/global-insight",
        "/global-insights",
        "/_changes",
    ]
    newest = control_plane.api.request("GET", "/_changes?all=true&size=1", headers=admin).json["items"][0]["revision"]
    found += ["/_changes?type=Secret&size=1000", "/_changes?type=GlobalSecret&all=true&size=1000", "/mesh-insights"]
    found += [f"/_changes/{revision}" for revision in range(1, newest + 1)]
    found += [
        "/_changes/difference?from=0",
        "/_changes/difference?from=0&all=true",
        "/_changes/difference?from=10&to=0",
    ]
    for kind in kinds:
        found += [f"/{kind['path']}", f"/{kind['path']}/planted", f"/{kind['path']}?format=kubernetes"]
        if kind["scope"] == "Mesh":
            found += [
                f"/meshes/{mesh}/{kind['path']}{name}" for mesh in ("default", "other") for name in ("", "/planted")
            ]
    for proxy in ("web-1", "backend-1"):
        of = f"/meshes/default/dataplanes/{proxy}"
        found += [
            f"{of}{tail}" for tail in ("", "/_overview", "/policies", "/rules", "/_rules", "/_policies", "/_layout")
        ]
        found += [f"{of}{tail}" for tail in ("/xds", "/xds?include_eds=true", "/stats", "/clusters", "/_config")]
        found += [f"{of}/_config?shadow=true&include=diff", f"{of}/stats?usedonly=false", f"{of}/clusters?format=json"]
    return found


def look_at_rollbacks(hunt: Hunt, control_plane: ControlPlane, token: str) -> None:
    """What a rollback would do, and what the history tells of secrets, as the administrator is shown it."""
    admin = {"authorization": f"Bearer {token}"}
    told = b""
    for about in (
        {},
        {"mesh": "default"},
        {"type": "Secret", "mesh": "default", "name": "ca-key"},
        {"type": "GlobalSecret", "name": "planted"},
    ):
        answer = ask(control_plane, "POST", "/_rollback/0", json.dumps({**about, "dryRun": True}).encode(), **admin)
        hunt.look(f"the answer to a rollback of {about or 'everything'}", answer)
        told += answer
    assert b"(sealed, as written by revision " in told
    for path in (
        "/_changes?type=Secret",
        "/_changes?type=GlobalSecret&all=true",
        "/_changes/difference?from=0&all=true",
    ):
        answer = ask(control_plane, "GET", path, **admin)
        assert answer.startswith(b"200")
        assert b'"planted"' in answer


def break_a_secret(control_plane: ControlPlane) -> None:
    """What no program does: the row of a secret is overwritten in the database, so that reading it fails."""
    with closing(sqlite3.connect(control_plane.directory / "work" / "kuma.db", timeout=10)) as connection, connection:
        done = connection.execute(
            "UPDATE resources SET spec = randomblob(80) WHERE name = 'planted' AND mesh = 'default'"
        )
        assert done.rowcount == 1


def look_at_kumactl(hunt: Hunt, control_plane: ControlPlane, company: Company, token: str) -> None:
    """What kumactl prints to the administrator, at debug level, apart from what was asked for by name."""
    home = control_plane.directory / "admin"
    home.mkdir()
    tool = Kumactl(home, {})
    tool(
        "config", "control-planes", "add", "--name", "it", "--address", f"https://localhost:{control_plane.https_port}",
        "--ca-cert-file", str(company.ca), "--auth-type", "tokens", "--auth-conf", f"token={token}",
    )  # fmt: skip
    for command in (
        ("get", "meshes"), ("get", "mesh", "default", "-o", "yaml"), ("get", "global-secrets"), ("history",),
        ("history", "--kind", "GlobalSecret"), ("history", "diff", "1"), ("inspect", "dataplanes"),
        ("inspect", "dataplane", "web-1", "--type=config-dump"), ("inspect", "dataplane", "web-1", "--type=config"),
        ("inspect", "dataplane", "backend-1", "--type=stats"), ("get", "secret", "planted"), ("get", "secrets"),
    ):  # fmt: skip
        result = tool.run("--log-level", "debug", *command)
        hunt.look(f"what kumactl {' '.join(command)} prints", (result.out + result.err).encode())


def look_at_processes(hunt: Hunt) -> None:
    """Arguments and names of all processes of this machine."""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            for file in ("cmdline", "comm"):
                with suppress(OSError):
                    content = (process / file).read_bytes()
                    hunt.look(f"the {file} of a process ({content[:60]!r})", content)


def look_at_files(hunt: Hunt, control_plane: ControlPlane, lab: Lab) -> None:
    """
    What the programs write: logs may hold no secret, all else is for its owner only.

    The database holds none in clear, whoever may read it.
    """
    logs = [control_plane.directory / "kuma-cp.log", *(proxy.directory / "kuma-dp.log" for proxy in lab.proxies)]
    for log in logs:
        hunt.look(f"the log {log.name} of {log.parent.name}", log.read_bytes())
    work = control_plane.directory / "work"
    for path in work.glob("kuma.db*"):
        hunt.look(path.name, path.read_bytes())
    folders = [work, control_plane.home, control_plane.directory / "admin", *(proxy.scratch for proxy in lab.proxies)]
    for path in (path for folder in folders for path in folder.rglob("*")):
        mode = path.lstat().st_mode
        hunt.places += 1
        if stat.S_ISREG(mode) and mode & 0o077:
            hunt.found.append(f"{path} has mode {mode & 0o777:o}")


@pytest.mark.timeout(240)
def test_nothing_secret_is_where_others_can_see_it(control_plane: ControlPlane, company: Company, lab: Lab):
    """Logs, answers, metrics, dumps, process lists and files, after a life with everything in it."""
    hunt = Hunt()
    plant(hunt, control_plane, company)
    admin = base64.b64decode(control_plane.api.get("/global-secrets/admin-user-token")["data"]).decode()
    tokens = {
        "web-1": control_plane.token("web-1", "default"),
        "backend-1": control_plane.token("backend-1", "default"),
    }
    john = control_plane.kumactl("generate", "user-token", "--name=john", "--group=team-a", "--valid-for=1h")
    zone = control_plane.kumactl("generate", "zone-token", "--zone=default", "--scope=ingress", "--valid-for=1h")
    for name, token in {**tokens, "john": john, "the zone": zone, "the admin": admin}.items():
        hunt.hide(f"the token of {name}", signature(token))
    control_plane.stop()
    control_plane.change(KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN="false")
    control_plane.start()

    debug = ("--log-level=debug",)
    application = lab.http("backend")
    inbound = documents.Inbound("backend", "http", free_port(), application.port)
    lab.proxy("backend-1", inbounds=[inbound], token=tokens["backend-1"], flags=debug).start()
    by_environment = {"KUMA_DATAPLANE_RUNTIME_TOKEN": tokens["web-1"]}
    web = lab.proxy("web-1", calls=["backend"], token="", env=by_environment, flags=debug)
    web.start()
    wait_until(lambda: http1(web.outbound("backend")) == "backend", "traffic")
    lab.proxy("web-2", token=tokens["web-1"][:-9] + "AAAAAAAAA", flags=debug).launch()
    control_plane.program.wait_for_log("proxy refused")
    misbehave(hunt, control_plane, company, admin, john)
    break_a_secret(control_plane)
    for path in ("/meshes/default/secrets/broken", "/meshes/default/secrets"):
        hunt.look(f"the answer to GET {path}", ask(control_plane, "GET", path, authorization=f"Bearer {admin}"))

    for path in paths(control_plane, admin):
        hunt.look(f"GET {path} of a stranger", ask(control_plane, "GET", path))
        hunt.look(f"GET {path} of a user", ask(control_plane, "GET", path, authorization=f"Bearer {john}"))
        if "secrets" not in path:
            hunt.look(f"GET {path} of the admin", ask(control_plane, "GET", path, authorization=f"Bearer {admin}"))
    look_at_rollbacks(hunt, control_plane, admin)
    look_at_kumactl(hunt, control_plane, company, admin)
    for path in ("/metrics", "/ready", "/healthy", "/logging"):
        hunt.look(f"diagnostics {path}", control_plane.diagnostics.request("GET", path).body)
    for proxy in ("web-1", "backend-1"):
        found = next(one for one in lab.proxies if one.name == proxy)
        hunt.look(f"readiness of {proxy}", found.readiness.request("GET", "/ready").body)
    look_at_processes(hunt)
    look_at_files(hunt, control_plane, lab)

    shown = ask(control_plane, "GET", "/meshes/default/dataplanes/web-1/xds")
    assert b'"authorization"' in shown
    assert b"[redacted]" in shown
    assert "cannot be decrypted" in control_plane.program.log()
    assert hunt.places > 300
    assert not hunt.found, "\n".join(sorted(set(hunt.found)))

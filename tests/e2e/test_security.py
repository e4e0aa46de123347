"""Who may do what, asked over real addresses: from the control plane's own host and from another one."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import pytest

from kuma.cp.access.control import StaticAccess
from tests.contract.api.control_plane import control_plane as api_for_its_routes
from tests.contract.api.hostile_tokens import HUGE, hostile
from tests.contract.api.matrix import BY_DEFAULT_CLOSED, OPEN, PUBLIC, Request, document_of, path_of, requests
from tests.e2e.harness.api import Answer, Api
from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.line import Line
from tests.e2e.harness.namespaces import Network, NoNetwork

ADMIN, ANONYMOUS = "mesh-system:admin", "mesh-system:anonymous"
OPEN_TO_ALL_ADDRESSES = {"KUMA_API_SERVER_HTTP_INTERFACE": "0.0.0.0", "KUMA_API_SERVER_HTTPS_INTERFACE": "::"}
SETTINGS = {"view_config_dump": "GET_CONFIG_DUMP"}
CLOSED = {
    f"KUMA_ACCESS_STATIC_{SETTINGS.get(field.name, field.name.upper())}_{who}": value
    for field in fields(StaticAccess)
    for who, value in (("USERS", ADMIN), ("GROUPS", ""))
}


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A host for control planes, and another host."""
    try:
        made = Network()
    except NoNetwork as error:
        pytest.skip(str(error))
    try:
        yield made
    finally:
        made.close()


def running(directory: Path, network: Network, settings: dict[str, str]) -> Iterator[ControlPlane]:
    """A control plane on the near host that listens on all addresses."""
    made = ControlPlane(directory / "control-plane", {**OPEN_TO_ALL_ADDRESSES, **settings}, network.near)
    try:
        yield made.start()
        made.assert_healthy_log()
    finally:
        made.close()


@pytest.fixture(scope="module")
def by_default(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Iterator[ControlPlane]:
    """Everything as it is out of the box."""
    yield from running(tmp_path_factory.mktemp("default"), network, {})


@pytest.fixture(scope="module")
def all_closed(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Iterator[ControlPlane]:
    """Every setting of ``access.static`` names the administrator and nobody else."""
    yield from running(tmp_path_factory.mktemp("closed"), network, CLOSED)


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone on the far host."""

    name: str
    token: str = ""
    is_known: bool = True

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    def expects(self, request: Request, status: int, closed: frozenset[str]) -> bool:
        """Whether this is how the caller is to be answered."""
        if request.guard == PUBLIC:
            return status == 200
        if not self.is_known:
            return status == 401
        if request.guard == OPEN or request.guard not in closed or self.name == "admin":
            return status not in (401, 403)
        # A document is judged before its sender, and a read-only kind before both.
        return status == 403 or (request.guard == "write_resources" and status in (400, 404, 405))


def callers(control_plane: ControlPlane) -> list[Caller]:
    """No token, one that is none, and each sort there is, from the control plane's own administrator."""
    generate = control_plane.kumactl
    admin = control_plane.api.get("/global-secrets/admin-user-token")["data"]
    return [
        Caller("no token"),
        Caller("bad token", "nonsense", is_known=False),
        Caller("dataplane token", control_plane.token("web-1", "default"), is_known=False),
        Caller("zone token", generate("generate", "zone-token", "--valid-for", "1h"), is_known=False),
        Caller("user", generate("generate", "user-token", "--name", "john", "--group", "team-a", "--valid-for", "1h")),
        Caller("admin", base64.b64decode(admin).decode()),
    ]


@cache
def everything() -> tuple[Request, ...]:
    """A request for each route of the API."""

    async def routes() -> tuple[Request, ...]:
        return tuple(requests((await api_for_its_routes()).api.routes))

    return tuple(asyncio.run(routes()))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("which", ["by_default", "all_closed"])
def test_every_route_by_every_sort_of_caller_from_another_host(
    which: str, network: Network, request: pytest.FixtureRequest
):
    """401 for a credential that is none, 403 for who may not, an answer for all others, and never a fault."""
    control_plane: ControlPlane = request.getfixturevalue(which)
    closed = frozenset(BY_DEFAULT_CLOSED if which == "by_default" else [field.name for field in fields(StaticAccess)])
    asked = 0
    with closing(Line(network.near.open, "127.0.0.1", control_plane.http_port)) as local:
        for caller in callers(control_plane):
            wrong = []
            line = Line(network.far.open, network.near.address, control_plane.http_port, caller.headers)
            with closing(line):
                for one in everything():
                    _prepare(local, one)
                    answer = line.request(one.method, one.path, one.body, one.headers)
                    asked += 1
                    assert answer.status < 500, (caller.name, str(one), answer.text)
                    if not caller.expects(one, answer.status, closed):
                        wrong.append((str(one), answer.status))
            assert wrong == [], caller.name
    assert asked > 600


def _prepare(local: Line, request: Request) -> None:
    """Let there be what is about to be deleted."""
    kind = request.kind
    if request.method == "DELETE" and kind is not None and not kind.read_only:
        headers = {"content-type": "application/json"}
        local.request("PUT", path_of(kind), json.dumps(document_of(kind)).encode(), headers)


def test_the_start_says_what_is_open_and_where_the_admin_token_is(
    by_default: ControlPlane, all_closed: ControlPlane, network: Network
):
    """The command in the log prints the token as it stands; the warning is gone once writing is closed."""
    warning = "anyone who reaches the API may change resources"
    assert warning in by_default.program.log()
    assert warning not in all_closed.program.log()
    line = by_default.program.wait_for_log("the admin user token can be read from this host")
    command = json.loads(line[line.index("{") :])["command"]
    done = subprocess.run(
        [*network.near.prefix, "bash", "-c", command], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.count(".") == 2


def test_an_absent_secret_looks_like_a_forbidden_one(by_default: ControlPlane, network: Network):
    """The same bytes, from another host, whatever is tried."""
    answers: dict[str, list[tuple[int, bytes]]] = {}
    with closing(Line(network.far.open, network.near.address, by_default.http_port)) as line:
        for name in ("admin-user-token", "absent"):
            body = json.dumps({"type": "GlobalSecret", "name": name, "data": "AQI="}).encode()
            for method in ("GET", "PUT", "DELETE"):
                sent = body if method == "PUT" else None
                answer = line.request(method, f"/global-secrets/{name}", sent, {"content-type": "application/json"})
                answers.setdefault(method, []).append((answer.status, answer.body))

    assert by_default.api.request("GET", "/global-secrets/admin-user-token").status == 200
    for method, (present, absent) in answers.items():
        assert present == absent, method
        assert present[0] == 403, method


def who(answer: Answer) -> str:
    """Whom the API takes the caller for."""
    return str(answer.json["name"])


def test_only_a_direct_local_connection_is_the_administrator(by_default: ControlPlane, network: Network):
    """From the same host by its loopback addresses; not by its other address, and not from elsewhere."""
    port = by_default.http_port
    near, far = network.near, network.far

    assert who(Api(port, open=near.open).request("GET", "/who-am-i")) == ADMIN
    assert who(Api(port, host="127.0.0.2", open=near.open).request("GET", "/who-am-i")) == ADMIN
    assert who(Api(port, host=near.address, open=near.open).request("GET", "/who-am-i")) == ANONYMOUS
    assert who(Api(port, host=near.address, open=far.open).request("GET", "/who-am-i")) == ANONYMOUS


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:5681"},
        {"host": "127.0.0.1"},
        {"x-forwarded-for": "127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1;host=localhost"},
        {"host": "localhost:5681", "origin": "http://localhost:5681", "sec-fetch-site": "same-origin"},
    ],
    ids=str,
)
def test_no_header_makes_another_host_local(by_default: ControlPlane, network: Network, headers: dict[str, str]):
    """Where a caller is, is known from its connection and from nothing that it says."""
    there = Api(by_default.http_port, host=network.near.address, open=network.far.open)

    assert who(there.request("GET", "/who-am-i", headers=headers)) == ANONYMOUS
    assert there.request("GET", "/global-secrets", headers=headers).status == 403
    local_in_name = there.request("GET", "http://localhost:5681/who-am-i", headers=headers)
    assert who(local_in_name) == ANONYMOUS


def test_no_proxy_on_this_host_is_made_a_door(by_default: ControlPlane, network: Network):
    """Writing is open to everybody, but not for a service that would be the API, called from its own host."""
    there = Api(by_default.http_port, host=network.near.address, open=network.far.open)
    inbound = {"port": 18081, "servicePort": by_default.http_port, "tags": {"kuma.io/service": "door"}}
    networking = {"address": network.near.address, "inbound": [inbound | {"serviceAddress": "127.0.0.1"}]}
    document = {"type": "Dataplane", "mesh": "default", "name": "door-1", "networking": networking}

    headers = {"content-type": "application/json"}
    answer = there.request("PUT", "/meshes/default/dataplanes/door-1", json.dumps(document), headers)

    assert answer.status == 400
    assert "KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN=false" in answer.text


def test_a_page_whose_name_was_rebound_gets_nothing(by_default: ControlPlane, network: Network):
    """A browser on this host that believes in a foreign name for 127.0.0.1 speaks for a stranger."""
    here = Api(by_default.http_port, open=network.near.open)
    name = f"evil.example:{by_default.http_port}"

    for headers in ({"host": name}, {"host": name, "origin": f"http://{name}", "sec-fetch-site": "same-origin"}):
        assert who(here.request("GET", "/who-am-i", headers=headers)) == ANONYMOUS
        assert here.request("GET", "/global-secrets/admin-user-token", headers=headers).status == 403


@pytest.mark.skipif(not socket.has_ipv6, reason="this system has no IPv6")
def test_ipv6_makes_no_difference(by_default: ControlPlane, network: Network):
    """Over HTTPS, on an address of the other family: local is local, and far is far."""
    command = ["curl", "-sk", "--max-time", "20"]
    local = f"https://[::1]:{by_default.https_port}/who-am-i"
    other = f"https://[{network.near.address6}]:{by_default.https_port}/who-am-i"

    def ask(*arguments: str) -> str:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=True)
        return str(json.loads(done.stdout)["name"])

    assert ask(*network.near.prefix, *command, local) == ADMIN
    assert ask(*network.near.prefix, *command, other) == ANONYMOUS
    assert ask(*network.far.prefix, *command, other) == ANONYMOUS
    assert ask(*network.far.prefix, *command, "-H", "Host: [::1]", other) == ANONYMOUS


def test_hostile_tokens_from_another_host(by_default: ControlPlane, network: Network):
    """Over the wire as well: refused, at once; what is too large for a header does not even get that far."""
    good = callers(by_default)[-1].token
    secret = by_default.api.get("/global-secrets/user-token-signing-key-1")["data"]
    there = Api(by_default.http_port, host=network.near.address, open=network.far.open, timeout=5)
    assert there.request("GET", "/global-secrets", headers={"authorization": f"Bearer {good}"}).status == 200
    for name, token in hostile(good, base64.b64decode(secret)):
        try:
            status = there.request("GET", "/global-secrets", headers={"authorization": f"Bearer {token}"}).status
        except ConnectionError:
            assert len(token) >= HUGE, name  # it was cut off while it still sent
        else:
            assert status == 401 or (status in (400, 431) and len(token) >= HUGE), (name, status)
    assert there.request("GET", "/").status == 200

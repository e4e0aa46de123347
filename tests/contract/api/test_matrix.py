"""Every route × who calls from elsewhere: nobody is let in by one door that is closed at another.

In this process, for each setting of ``access.static`` by itself; over real addresses in tests/e2e/test_security.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta

import pytest

from kuma.core.identity.claims import DataplaneClaims, ZoneClaims
from kuma.core.model.kinds import BY_NAME
from kuma.cp.access.control import StaticAccess
from kuma.cp.config import Config
from tests.contract.api.control_plane import REMOTE, control_plane, now
from tests.contract.api.matrix import BY_DEFAULT_CLOSED, OPEN, PUBLIC, Request, document_of, guard_of, path_of, requests

ACTIONS = [field.name for field in fields(StaticAccess)]
HOUR = timedelta(hours=1)


def camel(name: str) -> str:
    """A setting as the configuration file spells it."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


@dataclass
class Caller:
    """Someone on another machine."""

    name: str
    credential: str = ""
    is_known: bool = True

    @property
    def headers(self):
        return {"authorization": f"Bearer {self.credential}"} if self.credential else {}

    def may(self, guard: str, *, closed: frozenset[str]) -> bool:
        """With the default groups: what is closed is for the administrator."""
        return guard in (OPEN, PUBLIC) or guard not in closed or self.name == "admin"


async def callers(cp) -> list[Caller]:
    """No token, bad tokens, and each sort of token there is."""
    dataplane = await cp.issuer.issue_dataplane_token(DataplaneClaims(mesh="default"), now=now())
    zone = await cp.issuer.issue_zone_token(ZoneClaims("default", ("egress", "ingress")), now=now())
    return [
        Caller("nobody"),
        Caller("bad token", "nonsense", is_known=False),
        Caller("dataplane token", dataplane, is_known=False),
        Caller("zone token", zone, is_known=False),
        Caller("user", await cp.user_token("john", "team-a")),
        Caller("admin", await cp.user_token("mesh-system:admin", "mesh-system:admin")),
    ]


async def statuses(cp, headers) -> list[tuple[Request, int]]:
    """How each route answers a remote caller; what it may delete is put back first."""
    found = []
    async with cp.client() as admin, cp.client(REMOTE, headers=headers) as client:
        for request in requests(cp.api.routes):
            if request.kind is not None and not request.kind.read_only:
                await admin.put(path_of(request.kind), json=document_of(request.kind))
            answer = await client.request(request.method, request.path, content=request.body, headers=request.headers)
            assert answer.status_code < 500, (request, answer.text)
            found.append((request, answer.status_code))
    return found


CLOSED = {camel(action): {"users": ("mesh-system:admin",), "groups": ()} for action in ACTIONS}


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "config, closed",
    [
        pytest.param(Config(), frozenset(BY_DEFAULT_CLOSED), id="defaults"),
        pytest.param(Config(access={"static": CLOSED}), frozenset(ACTIONS), id="closed"),
    ],
)
async def test_every_route_answers_each_caller_as_it_should(config, closed):
    """401 for a credential that is none (but at the index), 403 for who may not, an answer for all others."""
    cp = await control_plane(config)
    for caller in await callers(cp):
        wrong = []
        for request, status in await statuses(cp, caller.headers):
            if not caller.is_known and request.guard != PUBLIC:
                expected = status == 401
            elif caller.may(request.guard, closed=closed):
                expected = status not in (401, 403)
            else:
                # A document is judged before its sender, and a read-only kind before both.
                expected = status == 403 or (status in (400, 404, 405) and request.guard == "write_resources")
            if not expected:
                wrong.append((str(request), status))
        assert wrong == [], caller.name


@pytest.mark.timeout(180)
@pytest.mark.parametrize("action", ACTIONS)
async def test_each_setting_opens_its_own_routes_and_no_others(action):
    """With all settings closed but one, exactly the routes of that one answer."""
    static = {camel(name): {"users": (), "groups": ("team-a",) if name == action else ()} for name in ACTIONS}
    cp = await control_plane(Config(access={"static": static, "type": "static"}))
    token = await cp.user_token("john", "team-a")

    found = await statuses(cp, {"authorization": f"Bearer {token}"})

    opened = {str(request) for request, status in found if status not in (401, 403)}
    own = {str(request) for request, _ in found if request.guard == action}
    always = {str(request) for request, _ in found if request.guard in (OPEN, PUBLIC)}
    judged_before = {str(request) for request, status in found if status in (400, 404, 405)}
    assert own
    assert own | always <= opened
    assert opened - always - own <= judged_before


async def test_the_kinds_that_matter_get_as_far_as_the_question_who_asks():
    """The matrix would prove nothing if every document in it were refused for what it says."""
    cp = await control_plane()
    async with cp.client() as admin:
        for name in (
            "Mesh",
            "Dataplane",
            "Secret",
            "GlobalSecret",
            "MeshTimeout",
            "MeshTrafficPermission",
            "MeshRetry",
        ):
            answer = await admin.put(path_of(BY_NAME[name]), json=document_of(BY_NAME[name]))
            assert answer.status_code == 201, (name, answer.text)
    assert len(cp.api.routes) > 100
    assert {guard_of(route) for route in cp.api.routes} == {*ACTIONS, OPEN, PUBLIC}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/meshes/default/secrets", "/global-secrets"])
@pytest.mark.parametrize("who", ["nobody", "user"])
async def test_an_absent_secret_looks_like_a_forbidden_one(method, path, who):
    """Byte by byte, whatever is tried: nobody learns which secrets there are."""
    cp = await control_plane()
    headers = {"authorization": f"Bearer {await cp.user_token('john')}"} if who == "user" else {}
    kind = BY_NAME["GlobalSecret" if "global" in path else "Secret"]
    answers = []
    async with cp.client() as admin, cp.client(REMOTE, headers=headers) as client:
        assert (await admin.put(path_of(kind), json=document_of(kind))).status_code == 201
        for name in (document_of(kind)["name"], "absent"):
            body = {**document_of(kind), "name": name} if method == "PUT" else None
            answer = await client.request(method, f"{path}/{name}", json=body)
            kept = {key: value for key, value in answer.headers.items() if key != "date"}
            answers.append((answer.status_code, kept, answer.content))
        assert (await admin.get(path_of(kind))).status_code == 200

    assert answers[0] == answers[1]
    assert answers[0][0] == 403


async def test_a_secret_is_not_found_by_its_identifier_either():
    """``/_kri`` asks who calls before it looks."""
    cp = await control_plane()
    async with cp.client() as admin, cp.client(REMOTE) as client:
        await admin.put("/meshes/default/secrets/s", json={"type": "Secret", "mesh": "default", "name": "s"})
        answers = [await client.get(f"/_kri/kri_sec_default_default__{name}_") for name in ("s", "absent")]

    assert {answer.status_code for answer in answers} <= {400, 403}
    assert answers[0].content == answers[1].content

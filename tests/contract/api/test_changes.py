"""The change log over HTTP: who did what, what changed between two revisions, and bringing it back."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from kuma.core.errors import StoreUnavailable
from kuma.core.model.codec import decode_json
from kuma.core.model.resource import Key
from kuma.cp.config import Config
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Author, Note, Put
from tests.contract.api.control_plane import DATAPLANE, LOCAL, REMOTE, TIMEOUT, control_plane

SHORT = "/meshes/default/meshtimeouts/short"
SECRET = "/meshes/default/secrets/s"  # a path
LONGER = {**TIMEOUT, "spec": {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "50s"}}]}}


def value(text):
    """A Secret with a value."""
    return {"type": "Secret", "mesh": "default", "name": "s", "data": text}


async def put(client, path, document):
    """Write, and give the revision that contains it."""
    answer = await client.put(path, json=document)
    assert answer.status_code in {200, 201}, answer.text
    return int(answer.headers["kuma-revision"])


async def changes(client, **query):
    """The entries of a list."""
    answer = await client.get("/_changes", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_every_write_is_listed_with_who_did_it_from_where(cp, client):
    """Creation, change and deletion, newest first; what changed nothing is no entry."""
    token = await cp.user_token("john", "team-a")
    async with cp.client(REMOTE, headers={"authorization": f"Bearer {token}"}) as john:
        await put(john, SHORT, TIMEOUT)
        await put(john, SHORT, TIMEOUT)
    revision = await put(client, SHORT, LONGER)
    await client.delete(SHORT)

    deleted, updated, created = await changes(client)

    assert created == {
        "revision": revision - 1,
        "time": created["time"],
        "user": "john",
        "groups": ["team-a", "mesh-system:authenticated"],
        "address": REMOTE[0],
        "action": "create",
        "type": "MeshTimeout",
        "mesh": "default",
        "name": "short",
    }
    assert datetime.now(UTC) - datetime.fromisoformat(created["time"]) < timedelta(minutes=1)
    assert [(e["action"], e["user"], e["address"]) for e in (updated, deleted)] == [
        ("update", "mesh-system:admin", LOCAL[0]),
        ("delete", "mesh-system:admin", LOCAL[0]),
    ]


async def test_what_nobody_asked_for_is_listed_only_if_asked_for(cp, client):
    """The control plane and proxies write a lot; a user cannot hide among them by taking such a name."""
    await cp.put_record("Dataplane", "default", "web-1", decoded(DATAPLANE))
    impostor = Author("mesh-system:control-plane", ("mesh-system:authenticated",), "10.0.0.66")
    await cp.store.write([Put(Key("MeshTimeout", "default", "t"), b"{}")], author=impostor, now=datetime.now(UTC))

    assert [(e["user"], e["address"]) for e in await changes(client)] == [(CONTROL_PLANE.name, "10.0.0.66")]
    assert {e["type"] for e in await changes(client, all="true")} >= {"Mesh", "Dataplane", "MeshTimeout"}


def decoded(document):
    """The spec of a legacy document."""
    spec = {key: item for key, item in document.items() if key not in {"type", "mesh", "name"}}
    return decode_json(document["type"], spec)


async def test_the_list_is_filtered(cp, client):
    """By mesh, type, name, user and time, together."""
    await put(client, "/meshes/demo", {"type": "Mesh", "name": "demo", "skipCreatingInitialPolicies": ["*"]})
    await put(client, SHORT, TIMEOUT)
    await put(client, "/meshes/demo/meshtimeouts/short", {**TIMEOUT, "mesh": "demo"})
    token = await cp.user_token("john")
    async with cp.client(REMOTE, headers={"authorization": f"Bearer {token}"}) as john:
        await put(john, SHORT, LONGER)

    async def found(**query):
        return [(e["type"], e.get("mesh", ""), e["name"]) for e in await changes(client, **query)]

    assert await found(mesh="default") == [("MeshTimeout", "default", "short")] * 2
    assert [one[0] for one in await found(mesh="demo")] == ["MeshTimeout", "Secret", "Mesh"]
    assert await found(type="Mesh") == [("Mesh", "", "demo")]
    assert await found(name="short", mesh="demo") == [("MeshTimeout", "demo", "short")]
    assert await found(user="john") == [("MeshTimeout", "default", "short")]
    assert await found(since="2999-01-01T00:00:00Z") == await found(user="nobody") == []
    assert len(await found(since="2020-01-01")) == 5
    assert len(await found(since=(datetime.now(UTC) - timedelta(minutes=5)).isoformat())) == 5


async def test_pages_do_not_move_under_the_reader(client):
    """The address of the next page goes on where this one ends, whatever was written meanwhile."""
    for number in range(5):
        await put(client, f"/meshes/default/meshtimeouts/t-{number}", {**TIMEOUT, "name": f"t-{number}"})

    first = (await client.get("/_changes?size=2&type=MeshTimeout")).json()
    await put(client, SHORT, TIMEOUT)
    second = (await client.get(first["next"])).json()
    third = (await client.get(second["next"])).json()

    names = [[e["name"] for e in page["items"]] for page in (first, second, third)]
    assert names == [["t-4", "t-3"], ["t-2", "t-1"], ["t-0"]]
    assert (first["total"], third["total"], third["next"]) == (5, 5, None)


async def test_one_entry_shows_before_and_after_as_one_would_apply_them(client):
    """Without what the control plane adds to every answer."""
    await put(client, SHORT, TIMEOUT)
    revision = await put(client, SHORT, LONGER)

    shown = (await client.get(f"/_changes/{revision}")).json()

    assert (shown["revision"], shown["action"]) == (revision, "update")
    assert set(shown["after"]) == {"type", "mesh", "name", "labels", "spec"}
    assert shown["before"]["spec"] == TIMEOUT["spec"]
    assert shown["after"]["spec"] == LONGER["spec"]
    assert await put(client, SHORT, shown["before"]) == revision + 1


async def test_a_revision_without_an_entry_says_why(cp, client):
    """It may never have been in the log."""
    await cp.connect("web-1")
    newest = await cp.store.revision()
    await cp.store.write(
        [Put(Key("DataplaneInsight", "default", "x"), b"{}", unlogged=True)],
        author=CONTROL_PLANE,
        now=datetime.now(UTC),
    )

    for revision in (0, newest + 1, newest + 2):
        answer = await client.get(f"/_changes/{revision}")
        assert answer.status_code == 404
        assert answer.json()["title"].startswith(
            f"Revision {revision} is not in the change log: it does not exist, was"
        )


async def test_two_revisions_are_compared(client):
    """All resources that differ, or those asked for; up to now where no end is given."""
    first = await put(client, SHORT, TIMEOUT)
    second = await put(client, SHORT, LONGER)
    await put(client, "/meshes/default/dataplanes/web-1", DATAPLANE)
    await client.delete(SHORT)

    async def compared(**query):
        answer = await client.get("/_changes/difference", params=query)
        assert answer.status_code == 200, answer.text
        return [(c["name"], c["before"] is not None, c["after"] is not None) for c in answer.json()["changes"]]

    assert await compared(**{"from": first, "to": second}) == [("short", True, True)]
    assert await compared(**{"from": second, "to": first}) == [("short", True, True)]
    assert await compared(**{"from": first}) == [("web-1", False, True), ("short", True, False)]
    assert await compared(**{"from": first, "type": "Dataplane"}) == [("web-1", False, True)]
    assert await compared(**{"from": second, "to": second}) == []


@pytest.mark.parametrize(
    "path, body, grant",
    [
        (
            "/tokens/dataplane",
            {"name": "web-1", "mesh": "default", "tags": {"kuma.io/service": ["web"]}, "validFor": "1h"},
            ("DataplaneToken", "default", "web-1", {"tags": {"kuma.io/service": ["web"]}}),
        ),
        ("/tokens/zone", {"scope": ["egress"], "validFor": "1h"}, ("ZoneToken", "", "default", {"scope": ["egress"]})),
        (
            "/tokens/user",
            {"name": "eve", "groups": ["a"], "validFor": "1h"},
            ("UserToken", "", "eve", {"groups": ["a"]}),
        ),
    ],
)
async def test_every_token_that_was_issued_is_listed(cp, client, path, body, grant):
    """With whom it is for, how long, what it grants and how to revoke it; not the token, and no refused request."""
    token = (await client.post(path, json=body)).text
    async with cp.client(REMOTE) as stranger:
        assert (await stranger.post(path, json=body)).status_code == 403

    (entry,) = await changes(client)
    alone = (await client.get(f"/_changes/{entry['revision']}")).text

    assert (entry["action"], entry["user"], entry["address"]) == ("issue", "mesh-system:admin", LOCAL[0])
    told = dict(entry["token"])
    expires = datetime.fromisoformat(told.pop("expires")) - datetime.now(UTC)
    assert timedelta(minutes=59) < expires <= timedelta(hours=1)
    assert told.pop("jti").startswith("id-")
    assert (entry["type"], entry.get("mesh", ""), entry["name"], told) == grant
    assert token.split(".")[2] not in json.dumps(entry) + alone


async def test_without_its_entry_no_token_is_handed_out():
    """What cannot be logged is not issued."""

    class FullDisk(MemoryStore):
        full = False

        async def write(self, batch, **options):
            if self.full and any(isinstance(one, Note) for one in batch):
                raise StoreUnavailable("the disk is full")
            return await super().write(batch, **options)

    store = FullDisk()
    cp = await control_plane(store=store)
    store.full = True
    async with cp.client() as client:
        answer = await client.post("/tokens/user", json={"name": "x", "validFor": "1h"})

    assert answer.status_code == 503
    assert "eyJ" not in answer.text


async def test_the_values_of_secrets_are_never_shown(client):
    """Made, changed, relabelled, deleted or brought back: one sees that it changed and not what it was."""
    values = ["b25l", "dHdv"]
    first = await put(client, SECRET, value(values[0]))
    second = await put(client, SECRET, value(values[1]))
    third = await put(client, SECRET, {**value(values[1]), "labels": {"a": "b"}})
    await client.delete(SECRET)
    secret = {"type": "Secret", "mesh": "default", "name": "s"}

    answers = [
        await client.get("/_changes"),
        *[await client.get(f"/_changes/{number}") for number in range(first, third + 2)],
        await client.get(f"/_changes/difference?from={first - 1}&all=true"),
        await client.get(f"/_changes/difference?from={first}&to={second}&all=true"),
        await client.post(f"/_rollback/{first}", json={**secret, "dryRun": True}),
        await client.post(f"/_rollback/{first}", json=secret),
        await client.post(f"/_rollback/{second}", json=secret),
    ]

    assert all(answer.status_code == 200 for answer in answers)
    assert not any(text in answer.text for answer in answers for text in values)
    changed, relabelled = answers[2].json(), answers[3].json()
    assert (changed["before"]["data"], changed["after"]["data"]) == (
        f"(sealed, as written by revision {first})",
        f"(sealed, as written by revision {second})",
    )
    assert (relabelled["before"]["data"], relabelled["after"]["data"]) == ("(sealed)", "(sealed)")
    assert (await client.get(SECRET)).json()["data"] == values[1]


async def test_one_resource_comes_back(client):
    """The rest stays; the answer tells what was done and the revision to wait for."""
    first = await put(client, SHORT, TIMEOUT)
    await put(client, SHORT, LONGER)
    await put(client, "/meshes/default/dataplanes/web-1", DATAPLANE)

    answer = await client.post(f"/_rollback/{first}", json={"type": "MeshTimeout", "mesh": "default", "name": "short"})

    body = answer.json()
    assert (answer.status_code, body["revision"], body["leftAlone"], body["warnings"]) == (200, first, [], [])
    assert str(body["written"]) == answer.headers["kuma-revision"]
    assert [(c["name"], c["before"]["spec"], c["after"]["spec"]) for c in body["changes"]] == [
        ("short", LONGER["spec"], TIMEOUT["spec"])
    ]
    assert (await client.get(SHORT)).json()["spec"] == TIMEOUT["spec"]
    assert (await client.get("/meshes/default/dataplanes/web-1")).status_code == 200
    assert (await changes(client))[0]["user"] == "mesh-system:admin"


async def test_everything_comes_back_and_going_back_can_be_undone(client):
    """A rollback is a revision like any other."""
    first = await put(client, SHORT, TIMEOUT)
    await client.delete(SHORT)
    late = await put(client, "/meshes/default/dataplanes/web-1", DATAPLANE)

    there = await client.post(f"/_rollback/{first}", json={})
    assert [c["name"] for c in there.json()["changes"]] == ["web-1", "short"]
    assert (await client.get(SHORT)).status_code == 200
    back = await client.post(f"/_rollback/{late}", json={})
    assert back.status_code == 200
    assert (await client.get(SHORT)).status_code == 404
    again = await client.post(f"/_rollback/{late}", json={})
    assert (again.json()["changes"], again.json()["written"]) == ([], 0)
    assert "kuma-revision" not in again.headers


async def test_a_dry_run_shows_the_plan_and_only_that_plan_is_done(client):
    """Whoever agreed to one set of changes does not get another."""
    first = await put(client, SHORT, TIMEOUT)
    await put(client, SHORT, LONGER)

    shown = (await client.post(f"/_rollback/{first}", json={"dryRun": True})).json()
    assert (shown["written"], (await client.get(SHORT)).json()["spec"]) == (0, LONGER["spec"])
    await put(client, "/meshes/default/dataplanes/web-1", DATAPLANE)
    refused = await client.post(f"/_rollback/{first}", json={"plan": shown["plan"]})
    assert (refused.status_code, refused.json()["title"]) == (409, "Conflict")
    assert (await client.get(SHORT)).json()["spec"] == LONGER["spec"]

    shown = (await client.post(f"/_rollback/{first}", json={"dryRun": True})).json()
    done = await client.post(f"/_rollback/{first}", json={"plan": shown["plan"]})
    assert (done.status_code, done.json()["changes"]) == (200, shown["changes"])


async def test_secrets_that_are_not_named_are_left_alone_and_told(client):
    """With the reason."""
    first = await put(client, SECRET, value("b25l"))
    await put(client, SECRET, value("dHdv"))

    body = (await client.post(f"/_rollback/{first}", json={})).json()

    assert body["changes"] == []
    assert body["leftAlone"] == [
        {
            "type": "Secret",
            "mesh": "default",
            "name": "s",
            "reason": "a secret comes back only when it is named, or with the mesh that it was deleted with",
        }
    ]


REQUESTS = [
    ("GET", "/_changes", None),
    ("GET", "/_changes/1", None),
    ("GET", "/_changes/9999", None),
    ("GET", "/_changes/difference?from=1", None),
    ("POST", "/_rollback/1", {}),
    ("POST", "/_rollback/nonsense", {"dryRun": True}),
]


@pytest.mark.parametrize("method, path, body", REQUESTS)
async def test_history_is_the_administrators(cp, method, path, body):
    """Anonymous and ordinary users alike get the usual refusal, before anything is looked at."""
    token = await cp.user_token("john", "team-a")
    async with cp.client(REMOTE) as stranger, cp.client(REMOTE, headers={"authorization": f"Bearer {token}"}) as john:
        answers = [await caller.request(method, path, json=body) for caller in (stranger, john)]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert [answer.json()["title"] for answer in answers] == ["Access Denied"] * 2
    assert answers[1].json()["detail"] == (
        'user "john/team-a,mesh-system:authenticated" cannot access the change history'
    )


async def test_an_administrator_by_settings_may(cp):
    """Whoever may administer secrets may see who did what; to bring back he must also be allowed to write."""
    settings = {
        "adminResources": {"users": ("ann",), "groups": ()},
        "writeResources": {"users": ("bob",), "groups": ()},
    }
    plane = await control_plane(Config(access={"static": settings}))
    revision = await plane.store.revision()
    token, bobs = await plane.user_token("ann"), await plane.user_token("bob")
    async with (
        plane.client(REMOTE, headers={"authorization": f"Bearer {token}"}) as ann,
        plane.client(REMOTE, headers={"authorization": f"Bearer {bobs}"}) as bob,
    ):
        await put(bob, SHORT, TIMEOUT)
        listed = await ann.get("/_changes")
        tried = await ann.post(f"/_rollback/{revision}", json={})
        shown = await ann.get(SHORT)

    assert (listed.status_code, tried.status_code, shown.status_code) == (200, 403, 200)
    assert tried.json()["detail"] == (
        'user "ann/mesh-system:authenticated" cannot access the resource of type "MeshTimeout"'
    )


async def test_a_read_only_control_plane_takes_no_rollback():
    """As it takes no other write."""
    cp = await control_plane(Config(apiServer={"readOnly": True}))
    async with cp.client() as client:
        answer = await client.post("/_rollback/1", json={})
        listed = await client.get("/_changes")

    assert (answer.status_code, listed.status_code) == (405, 200)


@pytest.mark.parametrize(
    "path, detail",
    [
        ("/_changes?since=yesterday", "bad request: since is a time like 2026-01-31T12:00:00Z"),
        ("/_changes?until=-1", "bad request: until is a number"),
        ("/_changes?all=perhaps", 'bad request: the query parameter "all" must be true or false'),
        ("/_changes/x", "bad request: a revision is a number"),
        ("/_changes/99999999999999999999", "bad request: a revision is a number"),
        ("/_changes/²", "bad request: a revision is a number"),
        ("/_changes/difference", 'bad request: the query parameter "from" is missing'),
        ("/_changes/difference?from=1&to=x", "bad request: to is a number"),
        ("/_changes/difference?from=1&to=9999", "revision 9999 does not exist yet: the newest is"),
        (f"/_changes/difference?from=1&to={2**63 - 1}", f"revision {2**63 - 1} does not exist yet: the newest is"),
        (f"/_changes/difference?from={2**63 - 1}", f"revision {2**63 - 1} does not exist yet: the newest is"),
        (
            "/_changes?kind=Secret",
            'bad request: the query parameter "kind" is not known; those that are: mesh, type, name, all, user, since',
        ),
        ("/_changes?Mesh=default", 'bad request: the query parameter "Mesh" is not known'),
        ("/_changes/1?mesh=default", 'bad request: the query parameter "mesh" is not known; there are none here'),
        ("/_changes/difference?from=1&until=2", 'bad request: the query parameter "until" is not known; those that'),
    ],
)
async def test_a_question_that_makes_no_sense_is_explained(client, path, detail):
    """400 with the part that is wrong."""
    answer = await client.get(path)

    assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")
    assert answer.json()["detail"].startswith(detail)


@pytest.mark.parametrize(
    "body, faults",
    [
        ({"type": "MeshTimeout", "name": "x"}, {"mesh": "cannot be empty"}),
        ({"type": "MeshTimeout", "mesh": "default"}, {"name": "cannot be empty"}),
        ({"name": "x"}, {"type": "is not the type of a resource"}),
        ({"type": "UserToken", "name": "x"}, {"type": "is not the type of a resource"}),
        (
            {"type": "DataplaneInsight", "mesh": "default", "name": "x"},
            {"type": "DataplaneInsight is written by the control plane itself and cannot be rolled back"},
        ),
        ({"mesch": "default"}, {"mesch": "is not known"}),
        *[
            ({"dryRun": text}, {"dryRun": "in body must be of type boolean"})
            for text in ("maybe", "no", "false", "yes", 0, 1)
        ],
    ],
)
async def test_a_rollback_that_is_not_understood_is_none(client, body, faults):
    """A filter that is spelt wrong never means everything."""
    await put(client, SHORT, TIMEOUT)

    answer = await client.post("/_rollback/1", json=body)

    assert answer.status_code == 400
    assert {p["field"]: p["reason"] for p in answer.json()["invalid_parameters"]} == faults
    assert (await client.get(SHORT)).status_code == 200


@pytest.mark.parametrize(
    "path, body, status, text",
    [
        (f"/_rollback/{2**63 - 1}", {}, 400, f"revision {2**63 - 1} does not exist yet: the newest is"),
        ("/_rollback/1?dryRun=true", {}, 400, 'the query parameter "dryRun" is not known; there are none here'),
        ("/_rollback/1", {"mesh": "nope"}, 404, 'There is no Mesh "nope", and there was none right after revision 1'),
    ],
)
async def test_a_rollback_to_or_of_what_never_was_is_none(client, path, body, status, text):
    """It is not "nothing to change", and what was meant for elsewhere does not count as left out."""
    await put(client, SHORT, TIMEOUT)

    answer = await client.post(path, json=body)

    assert answer.status_code == status
    assert text in answer.json()["title"] + answer.json()["detail"]
    assert (await client.get(SHORT)).status_code == 200


KEYS = "dataplane-token-signing-key-m"
REVOKED = "dataplane-token-revocations-m"


def revocations(*ids):
    """The list of revoked tokens of the mesh ``m``."""
    data = base64.b64encode(",".join(ids).encode()).decode()
    return {"type": "Secret", "mesh": "m", "name": REVOKED, "data": data}


@pytest.mark.parametrize("about", [{}, {"mesh": "m"}, {"type": "Mesh", "name": "m"}])
async def test_a_mesh_that_comes_back_revives_no_revoked_token_and_no_deleted_key(client, about):
    """Its secrets are what they were when it was deleted, whichever revision is asked for, and that is told."""
    await put(client, "/meshes/m", {"type": "Mesh", "name": "m", "skipCreatingInitialPolicies": ["*"]})
    secrets = "/meshes/m/secrets"
    first = (await client.get(f"{secrets}/{KEYS}-1")).json()
    then = await put(client, f"{secrets}/{REVOKED}", revocations("old"))
    last = await put(client, f"{secrets}/{REVOKED}", revocations("old", "new"))
    await put(client, f"{secrets}/{KEYS}-2", {**first, "name": f"{KEYS}-2"})
    assert (await client.delete(f"{secrets}/{KEYS}-1")).status_code == 200
    before = {one["name"]: one["data"] for one in (await client.get(secrets)).json()["items"]}
    await client.delete("/meshes/m")

    shown = (await client.post(f"/_rollback/{then}", json={**about, "dryRun": True})).json()
    done = await client.post(f"/_rollback/{then}", json={**about, "plan": shown["plan"]})

    assert done.status_code == 200, done.text
    assert {one["name"]: one["data"] for one in (await client.get(secrets)).json()["items"]} == before
    assert set(before) == {REVOKED, f"{KEYS}-2"}
    assert shown["leftAlone"] == [
        {"type": "Secret", "mesh": "m", "name": f"{KEYS}-1", "reason": "it was deleted before its mesh was"}
    ]
    (warning,) = shown["warnings"]
    assert warning == (
        'secrets of Mesh "m" come back as they were when it was deleted, '
        f'not as they were right after revision {then}: "{REVOKED}", "{KEYS}-2"'
    )
    told = {change["name"]: change for change in shown["changes"]}
    assert "asOf" not in told["m"]
    assert told[REVOKED]["after"]["data"] == f"(sealed, as written by revision {last})"
    assert told[REVOKED]["asOf"] > last


async def test_a_mesh_comes_back_from_the_very_revision_that_made_it(client):
    """Its signing key was made one revision later; it is there all the same, and the old tokens hold."""
    document = {"type": "Mesh", "name": "m", "skipCreatingInitialPolicies": ["*"]}
    made = await put(client, "/meshes/m", document) - 1
    assert [one["name"] for one in await changes(client, until=made)] == ["m"]
    key = (await client.get(f"/meshes/m/secrets/{KEYS}-1")).json()["data"]
    await client.delete("/meshes/m")

    answer = await client.post(f"/_rollback/{made}", json={"mesh": "m"})

    assert (answer.status_code, len(answer.json()["changes"])) == (200, 2)
    assert (await client.get(f"/meshes/m/secrets/{KEYS}-1")).json()["data"] == key
    issued = await client.post("/tokens/dataplane", json={"mesh": "m", "name": "web-1", "validFor": "1h"})
    assert issued.status_code == 200, issued.text


async def test_a_mesh_without_any_signing_key_comes_back_with_a_new_one(client):
    """No proxy could join it otherwise; a key that was deleted stays away, and that there is another is told."""
    await put(client, "/meshes/m", {"type": "Mesh", "name": "m", "skipCreatingInitialPolicies": ["*"]})
    then = await put(client, SHORT, TIMEOUT)
    key = (await client.get(f"/meshes/m/secrets/{KEYS}-1")).json()["data"]
    await client.delete(f"/meshes/m/secrets/{KEYS}-1")
    await client.delete("/meshes/m")

    answer = (await client.post(f"/_rollback/{then}", json={"mesh": "m"})).json()

    assert answer["warnings"] == [
        'Mesh "m": there is no key any more that signs the tokens of its proxies, so it gets a new one'
    ]
    assert (await client.get(f"/meshes/m/secrets/{KEYS}-1")).json()["data"] != key
    issued = await client.post("/tokens/dataplane", json={"mesh": "m", "name": "web-1", "validFor": "1h"})
    assert issued.status_code == 200, issued.text


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null"])
async def test_a_rollback_needs_an_object(client, body):
    """Nothing at all does not mean everything."""
    answer = await client.post("/_rollback/1", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")


async def test_states_that_were_trimmed_are_refused_with_the_oldest_there_is(cp, client):
    """By comparison and rollback alike."""
    first = await put(client, SHORT, TIMEOUT)
    second = await put(client, SHORT, LONGER)
    await cp.store.trim(now=datetime.now(UTC), max_age=timedelta(days=1), max_entries=1)
    text = (
        f"the change log does not reach back to revision {first - 1} any more: the oldest state that it can tell is "
        f"that right after revision {first}"
    )

    for answer in (
        await client.get(f"/_changes/difference?from={first - 1}"),
        await client.post(f"/_rollback/{first - 1}", json={}),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (400, text)
    assert (await client.post(f"/_rollback/{first}", json={})).status_code == 200
    assert second == first + 1


async def test_a_kind_that_is_not_known_any_more_is_shown_as_it_was_stored(cp, client):
    """A log outlives the version that wrote it."""
    author = Author("john", ("a",), "10.0.0.1")
    put_ = Put(Key("MeshTelepathy", "default", "x"), b'{"mind": "open"}')
    await cp.store.write([put_], author=author, now=datetime.now(UTC))

    (entry,) = await changes(client)
    shown = (await client.get(f"/_changes/{entry['revision']}")).json()

    assert shown["after"] == {"type": "MeshTelepathy", "mesh": "default", "name": "x", "spec": {"mind": "open"}}


async def test_a_large_resource_is_shown(client):
    """However long it takes to print, others are served meanwhile."""
    many = {f"l-{number}": "x" * 60 for number in range(900)}
    revision = await put(client, SHORT, {**TIMEOUT, "labels": many})

    assert (await client.get(f"/_changes/{revision}")).json()["after"]["labels"].items() >= many.items()

"""Who is who, and who may do what, over HTTP (the facts stand in the fact sheet on authentication)."""

import pytest

from kuma.cp.config import Config
from tests.contract.api.control_plane import DATAPLANE, LOCAL, REMOTE, control_plane

SECRET = {"type": "Secret", "mesh": "default", "name": "s", "data": "AQI="}
SECRET_PATH = "/meshes/default/secrets/s"


async def who(client, **headers):
    """Whom the API takes the caller for."""
    return (await client.get("/who-am-i", headers=headers)).json()["name"]


async def test_a_local_caller_is_the_administrator(client):
    """Without any credential."""
    assert (await client.get("/who-am-i")).text == (
        '{\n "name": "mesh-system:admin",\n "groups": [\n  "mesh-system:admin",\n  "mesh-system:authenticated"\n ]\n}\n'
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "1.2.3.4"},
        {"forwarded": "for=1.2.3.4"},
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_a_local_proxy_or_browser_is_not(client, headers):
    """Who speaks for someone else is anonymous."""
    assert await who(client, **headers) == "mesh-system:anonymous"


async def test_a_remote_caller_is_who_its_token_says(cp):
    """With the group of all who have one."""
    token = await cp.user_token("john", "team-a")
    async with cp.client(REMOTE, headers={"authorization": f"Bearer {token}"}) as client:
        body = (await client.get("/who-am-i")).json()

    assert body == {"name": "john", "groups": ["team-a", "mesh-system:authenticated"]}


async def test_a_bad_token_is_401_everywhere_but_at_the_index(cp):
    """As kumactl asks the index without a credential; nothing else is told to a bad one, not even a 404."""
    async with cp.client(REMOTE, headers={"authorization": "Bearer nonsense"}) as client:
        index, meshes, unknown = [await client.get(path) for path in ("/", "/meshes", "/nope")]

    assert index.status_code == 200
    assert meshes.status_code == unknown.status_code == 401
    assert (meshes.json()["title"], meshes.json()["detail"]) == ("Invalid authentication data", "Unauthenticated")
    assert "www-authenticate" not in meshes.headers


async def test_a_local_caller_with_a_bad_token_is_still_the_administrator(client):
    """The credential is not looked at."""
    assert await who(client, authorization="Bearer nonsense") == "mesh-system:admin"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", [SECRET_PATH, "/global-secrets/s"])
async def test_secrets_are_the_administrators(cp, method, path):
    """Reading, writing and deleting alike."""
    document = {**SECRET, "type": "GlobalSecret"} if "global" in path else SECRET
    if "global" in path:
        del document["mesh"]
    async with cp.client() as admin:
        assert (await admin.put(path, json=document)).status_code == 201
    async with cp.client(REMOTE) as client:
        answer = await client.request(method, path, json=document if method == "PUT" else None)

    assert (answer.status_code, answer.json()["title"]) == (403, "Access Denied")


async def test_an_invalid_secret_of_an_anonymous_caller_is_400(cp):
    """What is wrong with a document is found before the caller is asked for."""
    async with cp.client(REMOTE) as client:
        answer = await client.put(SECRET_PATH, json={**SECRET, "name": "other"})

    assert answer.status_code == 400


async def test_whether_a_secret_exists_is_not_told(cp):
    """Access is refused before the secret is looked up."""
    async with cp.client(REMOTE) as client:
        assert (await client.get("/meshes/default/secrets/none")).status_code == 403


async def test_writing_is_open_unless_it_is_closed():
    """access.static.writeResources is one line."""
    closed = Config(access={"static": {"writeResources": {"users": ("john",), "groups": ()}}})
    for config, status in ((Config(), 201), (closed, 403)):
        cp = await control_plane(config)
        async with cp.client(REMOTE) as client:
            answer = await client.put("/meshes/default/dataplanes/web-1", json=DATAPLANE)
            assert answer.status_code == status, answer.text
            assert (await client.get("/dataplanes")).status_code == 200


@pytest.mark.parametrize(
    "setting, path",
    [
        ("controlPlaneMetadata", "/config"),
        ("viewConfigDump", "/meshes/default/dataplanes/web-1/xds"),
        ("viewStats", "/meshes/default/dataplanes/web-1/stats"),
        ("viewClusters", "/meshes/default/dataplanes/web-1/clusters"),
    ],
)
async def test_looking_inside_can_be_closed(setting, path):
    """Open to everyone by default, as in Kuma."""
    closed = Config(access={"static": {setting: {"users": ("john",), "groups": ()}}})
    for config, refused in ((Config(), False), (closed, True)):
        cp = await control_plane(config)
        cp.envoys.connected.add("web-1")
        async with cp.client() as admin:
            await admin.put("/meshes/default/dataplanes/web-1", json=DATAPLANE)
        async with cp.client(REMOTE) as client:
            assert ((await client.get(path)).status_code == 403) is refused


@pytest.mark.parametrize(
    "groups, statuses",
    [
        (("mesh-system:unauthenticated",), (200, 403, 403)),
        (("mesh-system:authenticated",), (403, 200, 200)),
        (("team-a",), (403, 200, 403)),
        ((), (403, 403, 403)),
    ],
)
async def test_groups_tell_apart_who_has_a_token_and_who_has_not(groups, statuses):
    """Without a token one is in the one group, with any valid token in the other, and in those the token names."""
    cp = await control_plane(Config(access={"static": {"controlPlaneMetadata": {"users": (), "groups": groups}}}))
    found = []
    for token in (
        "",
        await cp.user_token("john", "team-a"),
        await cp.user_token("jane", "mesh-system:unauthenticated-x"),
    ):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with cp.client(REMOTE, headers=headers) as client:
            found.append((await client.get("/config")).status_code)

    assert tuple(found) == statuses


async def test_a_refusal_names_who_asked_with_its_groups(cp):
    """The operator sees which token the caller used."""
    token = await cp.user_token("john", "team-a", "team-b")
    async with cp.client(REMOTE, headers={"authorization": f"Bearer {token}"}) as client:
        answer = await client.get("/global-secrets")

    assert answer.json()["detail"] == (
        'user "john/team-a,team-b,mesh-system:authenticated" cannot access the resource of type "GlobalSecret"'
    )


@pytest.mark.parametrize("value", ["bearer TOKEN", "BEARER TOKEN", "Token TOKEN", "TOKEN", "Bearer\tTOKEN"])
async def test_only_the_very_word_makes_a_credential(cp, value):
    """Anything else in the header is no credential, as in Kuma: its sender is anonymous, not refused."""
    header = value.replace("TOKEN", await cp.user_token("john"))
    async with cp.client(REMOTE) as client:
        assert await who(client, authorization=header) == "mesh-system:anonymous"


async def test_a_local_proxys_own_address_is_not_local(cp):
    """A port that Docker publishes shows the bridge as the caller, also to who sits at the same machine."""
    async with cp.client(("172.17.0.1", 40000)) as client:
        assert await who(client) == "mesh-system:anonymous"


async def test_localhost_is_admin_can_be_switched_off():
    """Then a local caller needs a token like everyone."""
    cp = await control_plane(Config(apiServer={"authn": {"localhostIsAdmin": False}}))
    async with cp.client(LOCAL) as client:
        assert await who(client) == "mesh-system:anonymous"


async def test_foreign_origins_are_allowed_by_name_or_pattern():
    """Off by default; a pattern has to match the whole origin."""
    cp = await control_plane(
        Config(apiServer={"corsAllowedDomains": ("https://gui.example", r"https://.*\.corp\.example")})
    )
    async with cp.client(REMOTE) as client:
        for origin, allowed in (
            ("https://gui.example", True),
            ("https://a.corp.example", True),
            ("https://a.corp.example.evil.example", False),
            ("https://evil.example", False),
        ):
            answer = await client.get("/meshes", headers={"origin": origin})
            assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
        preflight = await client.options(
            "/meshes", headers={"origin": "https://gui.example", "access-control-request-method": "PUT"}
        )

    assert preflight.status_code == 200
    assert "PUT" in preflight.headers["access-control-allow-methods"]


async def test_without_domains_there_is_no_cors(client):
    """A preflight is an unknown method."""
    headers = {"origin": "https://gui.example", "access-control-request-method": "PUT"}

    assert (await client.options("/meshes", headers=headers)).status_code == 405
    assert "access-control-allow-origin" not in (await client.get("/meshes", headers=headers)).headers


async def test_the_base_path_stands_before_everything_but_user_tokens():
    """As in Kuma, /tokens/user stays at the root."""
    cp = await control_plane(Config(apiServer={"basePath": "/kuma/api"}))
    async with cp.client() as client:
        statuses = {
            path: (await client.get(path)).status_code
            for path in ("/", "/kuma/api", "/kuma/api/", "/kuma/api/meshes", "/meshes")
        }
        dataplane = await client.post("/kuma/api/tokens/dataplane", json={"mesh": "default"})
        user = await client.post("/tokens/user", json={"name": "x", "validFor": "1h"})
        following = (await client.get("/kuma/api/meshtimeouts?size=1")).json()["next"]

    assert statuses == {"/": 404, "/kuma/api": 200, "/kuma/api/": 200, "/kuma/api/meshes": 200, "/meshes": 404}
    assert (dataplane.status_code, user.status_code) == (200, 200)
    assert following == "http://localhost:5681/kuma/api/meshtimeouts?offset=1&size=1"

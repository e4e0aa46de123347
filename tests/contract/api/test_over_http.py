"""The API as it is served: real sockets, real HTTP."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx2

from kuma.cp.config import Config
from kuma.cp.server.listening import HttpServer
from tests.contract.api.control_plane import DATAPLANE, control_plane

JSON = {"content-type": "application/json"}


@asynccontextmanager
async def served(cp):
    """A caller on this machine, over the loopback."""
    server = await HttpServer.listen(cp.api, "127.0.0.1", 0)
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
            yield server, client
    finally:
        await server.close(timedelta(seconds=2))


async def test_a_resource_is_written_and_read(cp):
    """By the administrator, who is whoever calls from this machine."""
    async with served(cp) as (_, client):
        created = await client.put("/meshes/default/dataplanes/web-1", json=DATAPLANE)
        secrets = await client.get("/global-secrets")
        page = await client.get("/meshes/default/meshtimeouts?size=1")
        following = await client.get(page.json()["next"])

    assert (created.status_code, secrets.status_code) == (201, 200)
    assert "date" in created.headers
    assert following.json()["next"] is None


async def test_an_oversized_body_hears_of_the_limit(cp):
    """Although it is still being sent when the answer is decided."""
    async with served(cp) as (_, client):
        answer = await client.put("/meshes/m", content=b"x" * 6_000_000, headers=JSON)

    assert answer.status_code == 413


async def test_a_body_that_does_not_come_is_408():
    """The time for reading it is a setting."""
    cp = await control_plane(Config(apiServer={"readTimeout": timedelta(seconds=0.2)}))
    async with served(cp) as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"PUT /meshes/m HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
        )
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_foreign_authority_in_the_request_line_is_not_local(cp):
    """A page whose name was rebound to this machine gets nothing."""
    async with served(cp) as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET http://evil.example/global-secrets HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 403")

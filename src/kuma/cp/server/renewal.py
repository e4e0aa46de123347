"""Which files each server's TLS comes from, and how it gets them again when they are replaced."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from kuma.core.errors import ConfigInvalid
from kuma.cp.certificates.server import ServerTls, own_server_tls
from kuma.cp.certificates.watch import CertificateWatch, Watched
from kuma.cp.config.sections.api_server import ApiServer
from kuma.cp.config.sections.general import TlsServer
from kuma.cp.server.listening import HttpServer
from kuma.cp.server.sockets import client_ca_files


class Shown:
    """
    What the data plane server shows now: tokens and bootstraps tell proxies how to trust that.

    Read before there is a server; ``give_to`` names the server that gets what is read later.
    """

    def __init__(self, settings: TlsServer) -> None:
        self._settings = settings
        self._renew: Callable[[ServerTls], Awaitable[None]] | None = None

    async def read(self, watch: CertificateWatch) -> ServerTls:
        """
        Read the files, for the first time and whenever they change.

        Raises:
            ConfigInvalid: they cannot be used; the text names the file.
        """
        watch.add(Watched("data plane", lambda: pair_files(self._settings), self._again))
        self.tls = await own_server_tls(*pair_files(self._settings))
        return self.tls

    def give_to(self, renew: Callable[[ServerTls], Awaitable[None]]) -> None:
        """What shows a new certificate."""
        self._renew = renew

    @property
    def fingerprint(self) -> str:
        """That of the CA, empty where there is none to be trusted."""
        return self.tls.fingerprint or ""

    async def _again(self) -> None:
        tls = await own_server_tls(*pair_files(self._settings))
        if self._renew is not None:
            await self._renew(tls)
        self.tls = tls


def pair_files(settings: TlsServer) -> tuple[Path, Path]:
    """The certificate and the key of a server."""
    return Path(settings.tls_cert_file), Path(settings.tls_key_file)


def api_files(settings: ApiServer) -> tuple[Path, ...]:
    """The certificate and the key of the HTTPS API, and the CAs of its clients."""
    return (*pair_files(settings.https), *client_ca_files(settings))


async def listen_securely(
    name: str,
    watch: CertificateWatch,
    files: Callable[[], Iterable[Path]],
    context: Callable[[], ssl.SSLContext],
    listen: Callable[[ssl.SSLContext], Awaitable[HttpServer]],
) -> HttpServer:
    """
    Start an HTTP server with TLS whose files are watched.

    Raises:
        ConfigInvalid: they cannot be used; the text names the server.
    """

    async def renew() -> None:
        await server.renew(await asyncio.to_thread(context))

    watch.add(Watched(name, files, renew))
    try:
        server = await listen(await asyncio.to_thread(context))
    except ConfigInvalid as error:
        raise ConfigInvalid(f"the {name} server: {error}") from error
    return server

"""The REST server and the GUI: ``apiServer``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from kuma.cp.config.fields import Port, Section, section, setting
from kuma.cp.config.sections.general import TlsServer
from kuma.cp.config.sections.tokens import UserTokens

_NO_GUI: Final = "the GUI is not built yet"


class Http(Section):
    """``apiServer.http``."""

    enabled: bool = setting(True)
    interface: str = setting("0.0.0.0")  # noqa: S104 - Kuma's default; kuma-cp warns at start while writing is open
    port: Port = setting(5681)


class Https(TlsServer):
    """``apiServer.https``."""

    enabled: bool = setting(True)
    interface: str = setting("0.0.0.0")  # noqa: S104 - see Http
    port: Port = setting(5682)
    tls_ca_file: str = setting("")
    require_client_cert: bool = setting(False)


class ClientCerts(Section):
    """``apiServer.auth``."""

    client_certs_dir: str = setting("")


class Authn(Section):
    """``apiServer.authn``; ``type`` is tokens or adminClientCerts."""

    type: str = setting("tokens")
    localhost_is_admin: bool = setting(True)
    tokens: UserTokens = section(UserTokens)


class Gui(Section):
    """``apiServer.gui``."""

    enabled: bool = setting(True)
    root_url: str = setting("", inert=_NO_GUI)
    base_path: str = setting("/gui", inert=_NO_GUI)


class ApiServer(Section):
    """``apiServer``."""

    http: Http = section(Http)
    https: Https = section(Https)
    auth: ClientCerts = section(ClientCerts)
    authn: Authn = section(Authn)
    read_only: bool = setting(False)
    cors_allowed_domains: tuple[str, ...] = setting(())
    root_url: str = setting("", inert=_NO_GUI)
    base_path: str = setting("/")
    gui: Gui = section(Gui)
    read_header_timeout: timedelta = setting(timedelta(seconds=1))
    read_timeout: timedelta = setting(timedelta(seconds=10))
    write_timeout: timedelta = setting(timedelta(seconds=30))
    idle_timeout: timedelta = setting(timedelta(minutes=2))
    max_body_bytes: Annotated[int, Field(ge=1)] = setting(5_242_880)

"""What kuma-cp says once it is ready: where it is, how to become its administrator, and what is open to strangers.

Every address and every command works as it stands on the host of the control plane, or is not told. Warnings are about
servers that run, and about callers without any credential.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import structlog

from kuma.core.version import NAME, VERSION
from kuma.cp.access.control import StaticAccess
from kuma.cp.access.user import ADMIN_NAME, ANONYMOUS
from kuma.cp.config import Config
from kuma.cp.config.sections.api_server import ApiServer, Http, Https

_PRINT_DATA: Final = "jq -r .data | base64 -d"
_OPEN: Final = {
    "write_resources": "change resources",
    "admin_resources": "read and change every secret, the keys of tokens and of authorities among them",
    "generate_user_token": "make a token for any user, an administrator among them",
    "generate_dp_token": "make a token for any data plane proxy",
    "generate_zone_token": "make a token for any zone",
}
"""What strangers should not be able to do, by the list that says who may."""

log = structlog.get_logger("kuma-cp")


def greet(config: Config, access: StaticAccess, fingerprint: str | None, *, with_admin_token: bool) -> None:
    """Log it all; ``with_admin_token`` says whether there is such a token."""
    api = config.api_server
    log.info(
        "ready",
        name=NAME,
        version=VERSION,
        mode="standalone" if config.is_standalone else config.mode,
        store=config.store.type,
        work_dir=config.general.work_dir,
        api=next((_url(server) for server in _servers(api)), "off"),
        dp_server=f"https://localhost:{config.dp_server.port}",
        ca_fingerprint=fingerprint,
    )
    local = next((server for server in _servers(api) if _admits_locally(api, server)), None)
    if with_admin_token and local is not None:
        curl = "curl -sk" if isinstance(local, Https) else "curl -s"
        where = f"{_url(local)}{api.base_path.rstrip('/')}/global-secrets/admin-user-token"
        log.info("the admin user token can be read from this host", command=f"{curl} {where} | {_PRINT_DATA}")
    if not all(_is_loopback(server.interface) for server in _servers(api)):
        for warning in _open(access):
            log.warning(warning)
    if config.dp_server.authn.dp_proxy.type == "none":
        log.warning(
            "whoever reaches the data plane port may join as any proxy, and gets that proxy's certificates; to ask "
            "for tokens again unset KUMA_DP_SERVER_AUTHN_DP_PROXY_TYPE"
        )


def _servers(api: ApiServer) -> Iterator[Http | Https]:
    """The servers of the API that run."""
    return (server for server in (api.http, api.https) if server.enabled)


def _url(server: Http | Https) -> str:
    """Where a server answers someone on this host."""
    scheme = "https" if isinstance(server, Https) else "http"
    host = server.interface.strip("[]")
    if _is_everywhere(host) or host == "127.0.0.1":
        host = "localhost"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}"


def _admits_locally(api: ApiServer, server: Http | Https) -> bool:
    """Whether a caller on this host, who shows nothing, is the administrator there."""
    if api.authn.type != "tokens" or not api.authn.localhost_is_admin:
        return False
    if isinstance(server, Https) and server.require_client_cert:
        return False
    # Whoever calls another address of this host comes from that address.
    return _is_everywhere(server.interface) or _is_loopback(server.interface)


def _open(access: StaticAccess) -> Iterator[str]:
    for name, deed in _OPEN.items():
        allowed = getattr(access, name)
        variable = f"KUMA_ACCESS_STATIC_{name.upper()}"
        ways = []
        if set(ANONYMOUS.groups) & set(allowed.groups):
            ways.append(f"set {variable}_GROUPS={ADMIN_NAME}")
        if ANONYMOUS.name in allowed.users:
            ways.append(f"take {ANONYMOUS.name} out of {variable}_USERS")
        if ways:
            yield f"anyone who reaches the API may {deed}; to close it {' and '.join(ways)}"


def _is_everywhere(interface: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(interface.strip("[]")).is_unspecified
    return False


def _is_loopback(interface: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(interface.strip("[]")).is_loopback
    return interface == "localhost"

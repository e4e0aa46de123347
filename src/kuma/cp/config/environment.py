"""The environment as a source of settings.

A variable that nobody knows is at most a warning: the environment belongs to other programs as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from kuma.core.errors import ConfigInvalid
from kuma.cp.config.table import Setting, by_env
from kuma.cp.config.values import Unreadable, from_variable

# Names that Kuma's own commented configuration gives by mistake, and the ones that Kuma and we read.
MISPRINTED: Final[Mapping[str, str]] = {
    "KUMA_DNS_SERVICE_SERVICE_VIP_PORT": "KUMA_DNS_SERVER_SERVICE_VIP_PORT",
    "KUMA_STORE_POSTGRES_TLS_ROOT_CERT_PATH": "KUMA_STORE_POSTGRES_TLS_CA_PATH",
    "KUMA_API_SERVER_HTTPS_CLIENT_CERTS_CA_FILE": "KUMA_API_SERVER_HTTPS_TLS_CA_FILE",
}
_OF_KUMA_DP: Final = ("KUMA_DATAPLANE_", "KUMA_CONTROL_PLANE_", "KUMA_DNS_PROXY_", "KUMA_DNS_CORE_DNS_")
_NEAR: Final = 0.9


def read_environment(environ: Mapping[str, str]) -> dict[Setting, Any]:
    """
    Read the settings that variables give.

    Raises:
        ConfigInvalid: variables cannot be read as the kind of their setting; all of them are listed.
    """
    values: dict[Setting, Any] = {}
    faults: list[str] = []
    known = by_env()
    for name in sorted(environ.keys() & known.keys()):
        try:
            values[known[name]] = from_variable(known[name], environ[name])
        except Unreadable as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise ConfigInvalid(f"reading configuration from the environment failed: {'; '.join(faults)}")
    return values


def misspelt_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Warnings about variables that look as if they were meant for kuma-cp, and are not read."""
    known = by_env()
    for name in sorted(environ):
        meant = MISPRINTED.get(name)
        if meant is None and name not in known and name.upper().startswith("KUMA_"):
            if name.upper() in known:
                meant = name.upper()
            elif not name.startswith(_OF_KUMA_DP):
                meant = next(iter(get_close_matches(name, known, n=1, cutoff=_NEAR)), None)
        if meant is not None:
            yield f"the environment variable {name} is not read; did you mean {meant}?"

"""What the control plane fills in by itself before it starts. Pure: everything found on the machine is a parameter."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any, TypeVar

from kuma.core.errors import ConfigInvalid
from kuma.cp.config.fields import Section
from kuma.cp.config.sections.general import TlsLimits, TlsServer
from kuma.cp.config.tree import Config

_SHARED_BY_REPLICAS = ("postgres", "kubernetes")
_LOOPBACK = "127.0.0.1"

_S = TypeVar("_S", bound=Section)


def autoconfigure(config: Config, *, home: str, address: str | None) -> Config:
    """
    Fill the settings that follow from others or from the machine; what a person set stays.

    Args:
        config: what was loaded.
        home: the home directory of the user that runs kuma-cp; holds ``.kuma`` when no work directory is set.
        address: the first address of this machine that is not loopback, None where there is none.

    Raises:
        ConfigInvalid: replicas cannot reach this one, or would not share the key for secrets at rest.
    """
    work_dir = config.general.work_dir or posixpath.join(home, ".kuma")
    on_kubernetes = config.on_kubernetes
    dp_proxy, zone_proxy = ("serviceAccountToken",) * 2 if on_kubernetes else ("dpToken", "zoneToken")
    authn = config.dp_server.authn
    changes: dict[tuple[str, ...], Any] = {
        ("general", "work_dir"): work_dir,
        ("store", "sqlite", "path"): config.store.sqlite.path or posixpath.join(work_dir, "kuma.db"),
        ("store", "encryption", "key_file"): _key_file(config, work_dir),
        ("dp_server", "authn", "dp_proxy", "type"): authn.dp_proxy.type or dp_proxy,
        ("dp_server", "authn", "zone_proxy", "type"): authn.zone_proxy.type or zone_proxy,
        ("dp_server", "authn", "enable_reloadable_tokens"): (
            authn.enable_reloadable_tokens or config.store.type == "kubernetes"
        ),
        ("bootstrap_server", "params", "xds_port"): config.bootstrap_server.params.xds_port or config.dp_server.port,
        ("inter_cp", "catalog", "instance_address"): _instance_address(config, address),
    }
    for path, server in _servers(config):
        changes |= {(*path, name): value for name, value in _tls_limits(config, server)}
    return _changed(config, changes)


def with_tls(config: Config, cert: str, key: str) -> Config:
    """
    Give every server without a certificate of its own the general pair.

    Args:
        config: what was loaded.
        cert: path of the PEM certificate to use where ``general.tlsCertFile`` is empty.
        key: path of its private key.
    """
    cert, key = config.general.tls_cert_file or cert, config.general.tls_key_file or key
    changes: dict[tuple[str, ...], Any] = {}
    for path, server in ((("general",), config.general), *_servers(config)):
        if isinstance(server, TlsServer) and not server.tls_cert_file:
            changes |= {(*path, "tls_cert_file"): cert, (*path, "tls_key_file"): key}
    return _changed(config, changes)


def _servers(config: Config) -> Iterator[tuple[tuple[str, ...], TlsLimits]]:
    """Every section that describes a TLS server, with the way to it."""
    yield ("api_server", "https"), config.api_server.https
    yield ("dp_server",), config.dp_server
    yield ("diagnostics",), config.diagnostics
    yield ("monitoring_assignment_server",), config.monitoring_assignment_server
    yield ("inter_cp", "server"), config.inter_cp.server
    yield ("multizone", "global_", "kds"), config.multizone.global_.kds


def _tls_limits(config: Config, server: TlsLimits) -> Iterator[tuple[str, Any]]:
    """
    The general limits where a person set them, else the server's own.

    Kuma copies its general default as well, and so lowers a server that was set to TLS 1.3; we never lower.
    """
    default = TlsLimits()
    for name in TlsLimits.model_fields:
        general = getattr(config.general, name)
        yield name, general if general != getattr(default, name) else getattr(server, name)


def _key_file(config: Config, work_dir: str) -> str:
    encryption = config.store.encryption
    if encryption.key or encryption.key_file:
        return encryption.key_file
    if config.store.type == "postgres":
        raise ConfigInvalid(
            "store.encryption.key or store.encryption.keyFile must be set with store.type postgres, to the same key on "
            "every replica; set KUMA_STORE_ENCRYPTION_KEY_FILE to a file that only kuma-cp can read"
        )
    return posixpath.join(work_dir, "store.key")


def _instance_address(config: Config, address: str | None) -> str:
    if config.inter_cp.catalog.instance_address:
        return config.inter_cp.catalog.instance_address
    if address is None and config.store.type in _SHARED_BY_REPLICAS:
        raise ConfigInvalid(
            "there is no network interface other than loopback, so other replicas cannot reach this one; set "
            "interCp.catalog.instanceAddress (KUMA_INTER_CP_CATALOG_INSTANCE_ADDRESS)"
        )
    return address or _LOOPBACK


def _changed(config: Config, changes: dict[tuple[str, ...], Any]) -> Config:
    for path, value in changes.items():
        config = _replaced(config, path, value)
    return config


def _replaced(node: _S, path: tuple[str, ...], value: Any) -> _S:
    name, *rest = path
    if rest:
        value = _replaced(getattr(node, name), tuple(rest), value)
    return node.model_copy(update={name: value})

"""The request by which a proxy asks to join. Field names are Kuma's."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kuma.core.version import COMPATIBLE_VERSION
from kuma.dp.envoy import EnvoyVersion
from kuma.dp.machine import has_ipv6, memory_limit, system_ca_path
from kuma.dp.proxy import RUN, Proxy
from kuma.dp.settings import Settings


def request_body(
    settings: Settings, proxy: Proxy, envoy: EnvoyVersion, directory: Path, token_copy: Path, readiness_port: int
) -> Mapping[str, Any]:
    """All but token and CA, which are read anew for every attempt."""
    body = {
        "mesh": proxy.mesh,
        "name": proxy.name,
        "proxyType": proxy.type,
        "dataplaneTokenPath": str(token_copy) if settings.token or settings.token_path else "",
        "dataplaneResource": proxy.resource,
        "version": {
            "kumaDp": {"version": COMPATIBLE_VERSION, "gitTag": "", "gitCommit": "", "buildDate": ""},
            "envoy": {"version": envoy.version, "build": envoy.build, "kumaDpCompatible": envoy.compatible},
        },
        "dynamicMetadata": {RUN: proxy.run} | ({"HOST_IP": settings.host_ip} if settings.host_ip else {}),
        "dnsPort": settings.dns_port,
        "readinessPort": readiness_port,
        "operatingSystem": "linux" if sys.platform == "linux" else sys.platform,
        "features": list(settings.features),
        "resources": {"maxHeapSizeBytes": settings.max_memory_bytes or memory_limit()},
        "workdir": str(directory),
        "metricsResources": {"certPath": settings.metrics_cert_path, "keyPath": settings.metrics_key_path},
        "systemCaPath": settings.system_ca_path or system_ca_path(),
        "ipv6Enabled": settings.ipv6 and has_ipv6(),
        "spireResources": {"socketPath": settings.spire_socket_path},
    }
    optional = ("dataplaneTokenPath", "dataplaneResource")
    return {key: value for key, value in body.items() if value or key not in optional}

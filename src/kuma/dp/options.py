"""Every setting of ``kuma-dp run``: its flags, its variable, its type, its default. Names are Kuma's.

A variable that is set wins over the flag, as in Kuma: there, the environment is read after the command line. A
setting whose feature is not built yet is either refused when asked for (``Refused``) or, where a Kuma user's start
script may carry it without needing it, accepted with one warning (``Idle``).

Facts: spec/dataplane.md §1, spec/config.md §3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Sort(Enum):
    """How a value is written; the value is what ``--help`` shows."""

    TEXT = "text"
    BOOL = "true|false"
    INT = "number"
    DURATION = "duration"
    PAIRS = "key=value"
    LIST = "texts"


class Standing(Enum):
    """Whether this release does something with the setting."""

    ACTIVE = "active"
    IDLE = "idle"
    """Accepted with a warning: it belongs to DNS, which needs the transparent proxy."""
    REFUSED = "refused"
    """Asked for, it stops the start: the user counts on something that would not happen."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting; ``flags`` is empty for those that only have a variable."""

    name: str
    env: str
    sort: Sort = Sort.TEXT
    default: str = ""
    flags: tuple[str, ...] = ()
    help: str = ""
    standing: Standing = Standing.ACTIVE


_RUNTIME: Final = "KUMA_DATAPLANE_RUNTIME_"
_B, _I, _D = Sort.BOOL, Sort.INT, Sort.DURATION
_IDLE, _REFUSED = Standing.IDLE, Standing.REFUSED

OPTIONS: Final = (
    # The control plane.
    Option(
        "cp_address", "KUMA_CONTROL_PLANE_URL", Sort.TEXT, "https://localhost:5678", ("--cp-address",),
        "URL of the control plane's data plane server",
    ),
    Option(
        "ca_cert_file", "KUMA_CONTROL_PLANE_CA_CERT_FILE", Sort.TEXT, "", ("--ca-cert-file",),
        "CA certificate of the control plane; without it the fingerprint in the token, else the system's CAs decide",
    ),
    Option("ca_cert", "KUMA_CONTROL_PLANE_CA_CERT"),
    Option(
        "skip_verify", "KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY", _B, "false", ("--skip-verify",),
        "trust whoever answers as the control plane; for tests only",
    ),
    Option("retry_backoff", "KUMA_CONTROL_PLANE_RETRY_BACKOFF", _D, "3s"),
    Option("retry_max_duration", "KUMA_CONTROL_PLANE_RETRY_MAX_DURATION", _D, "5m"),
    # The proxy.
    Option("name", "KUMA_DATAPLANE_NAME", Sort.TEXT, "", ("--name",), "name of the proxy, when no resource is given"),
    Option("mesh", "KUMA_DATAPLANE_MESH", Sort.TEXT, "", ("--mesh",), "mesh of the proxy, when no resource is given"),
    Option(
        "proxy_type", "KUMA_DATAPLANE_PROXY_TYPE", Sort.TEXT, "dataplane", ("--proxy-type",),
        "dataplane, ingress or egress",
    ),
    Option(
        "resource_path", _RUNTIME + "RESOURCE_PATH", Sort.TEXT, "", ("-d", "--dataplane-file"),
        "file with the Dataplane (YAML or JSON), - for standard input; wins over --dataplane",
    ),
    Option("resource", _RUNTIME + "RESOURCE", Sort.TEXT, "", ("--dataplane",), "the Dataplane itself, as text"),
    Option(
        "variables", "", Sort.PAIRS, "", ("-v", "--dataplane-var"),
        "variable for {{ placeholders }} in the Dataplane; may be repeated",
    ),
    Option(
        "token_path", _RUNTIME + "TOKEN_PATH", Sort.TEXT, "", ("--dataplane-token-file",), "file with the token"
    ),
    Option(
        "token", _RUNTIME + "TOKEN", Sort.TEXT, "", ("--dataplane-token",),
        "the token itself (every user of the machine can read the command line: prefer the file)",
    ),
    # Envoy.
    Option(
        "binary_path", _RUNTIME + "BINARY_PATH", Sort.TEXT, "envoy", ("--binary-path",),
        "Envoy; the default is the one on PATH, else the one installed with kuma-dp",
    ),
    Option(
        "work_dir", _RUNTIME + "WORK_DIR", Sort.TEXT, "", ("--work-dir",),
        "directory for Envoy's configuration and sockets; the default is a temporary one",
    ),
    Option("config_dir", _RUNTIME + "CONFIG_DIR", Sort.TEXT, "", ("--config-dir",), "older name of --work-dir"),
    Option("socket_dir", _RUNTIME + "SOCKET_DIR"),
    Option(
        "concurrency", _RUNTIME + "CONCURRENCY", _I, "0", ("--concurrency",),
        "worker threads of Envoy; 0 is one for each CPU it may use",
    ),
    Option(
        "drain_time", "KUMA_DATAPLANE_DRAIN_TIME", _D, "30s", ("--drain-time",),
        "how long open connections may go on after SIGTERM",
    ),
    Option(
        "envoy_log_level", _RUNTIME + "ENVOY_LOG_LEVEL", Sort.TEXT, "", ("--envoy-log-level",),
        "trace, debug, info, warning, error, critical or off; the default is kuma-dp's own level",
    ),
    Option(
        "envoy_component_log_level", _RUNTIME + "ENVOY_COMPONENT_LOG_LEVEL", Sort.TEXT, "",
        ("--envoy-component-log-level",), "levels by component, e.g. upstream:debug,config:trace",
    ),
    Option("max_memory_bytes", "KUMA_DATAPLANE_RESOURCES_MAX_MEMORY_BYTES", _I, "0"),
    Option("readiness_port", "KUMA_READINESS_PORT", _I, "9902"),
    Option(
        "metrics_cert_path", _RUNTIME + "METRICS_CERT_PATH", Sort.TEXT, "", ("--metrics-cert-path",),
        "certificate with which Envoy serves its metrics",
    ),
    Option(
        "metrics_key_path", _RUNTIME + "METRICS_KEY_PATH", Sort.TEXT, "", ("--metrics-key-path",),
        "key with which Envoy serves its metrics",
    ),
    Option("system_ca_path", _RUNTIME + "DYNAMIC_SYSTEM_CA_PATH"),
    Option(
        "bind_outbounds", _RUNTIME + "BIND_OUTBOUNDS", _B, "false", ("--bind-outbounds",),
        "listen on the addresses of outbounds instead of redirecting to them",
    ),
    Option("xds_variant", _RUNTIME + "ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT"),
    Option("unified_naming", _RUNTIME + "UNIFIED_RESOURCE_NAMING_ENABLED", _B, "false"),
    Option("ipv6", _RUNTIME + "IPV6_ENABLED", _B, "true"),
    Option("strict_inbound_ports", _RUNTIME + "STRICT_INBOUND_PORTS_ENABLED", _B, "true"),
    Option("reuse_port", _RUNTIME + "REUSE_PORT_ENABLED", _B, "true"),
    Option("spire_supported", _RUNTIME + "SPIRE_SUPPORTED", _B, "false"),
    Option("spire_socket_path", _RUNTIME + "SPIRE_SOCKET_PATH"),
    # DNS and the transparent proxy.
    Option(
        "dns_enabled", "KUMA_DNS_ENABLED", _B, "true", ("--dns-enabled",),
        "resolve names of the mesh, where traffic is redirected", _IDLE,
    ),
    Option(
        "dns_envoy_port", "KUMA_DNS_ENVOY_DNS_PORT", _I, "15054", ("--dns-envoy-port",),
        "port of Envoy's DNS listener", _IDLE,
    ),
    Option(
        "dns_coredns_port", "KUMA_DNS_CORE_DNS_PORT", _I, "15053", ("--dns-coredns-port",), "port for DNS", _IDLE
    ),
    Option(
        "dns_coredns_path", "KUMA_DNS_CORE_DNS_BINARY_PATH", Sort.TEXT, "coredns", ("--dns-coredns-path",),
        "CoreDNS, which kuma-dp does not need", _IDLE,
    ),
    Option(
        "dns_coredns_template", "KUMA_DNS_CORE_DNS_CONFIG_TEMPLATE_PATH", Sort.TEXT, "",
        ("--dns-coredns-config-template-path",), "template for CoreDNS, which kuma-dp does not need", _IDLE,
    ),
    Option(
        "dns_config_dir", "KUMA_DNS_CONFIG_DIR", Sort.TEXT, "", ("--dns-server-config-dir",),
        "directory for CoreDNS, which kuma-dp does not need", _IDLE,
    ),
    Option(
        "dns_prometheus_port", "KUMA_DNS_PROMETHEUS_PORT", _I, "19153", ("--dns-prometheus-port",),
        "port for metrics of DNS", _IDLE,
    ),
    Option(
        "dns_enable_logging", "KUMA_DNS_ENABLE_LOGGING", _B, "false", ("--dns-enable-logging",),
        "log every DNS question", _IDLE,
    ),
    Option("dns_proxy_port", "KUMA_DNS_PROXY_PORT", _I, "0", standing=_REFUSED),
    Option("app_probe_proxy_port", "KUMA_APPLICATION_PROBE_PROXY_PORT", _I, "0", standing=_REFUSED),
    Option(
        "transparent_proxy", "", _B, "false", ("--transparent-proxy",),
        "traffic of this machine is redirected to the proxy (not available yet)", _REFUSED,
    ),
    Option(
        "transparent_proxy_config", "", Sort.LIST, "", ("--transparent-proxy-config",),
        "files that describe the redirection (not available yet)", _REFUSED,
    ),
)  # fmt: skip

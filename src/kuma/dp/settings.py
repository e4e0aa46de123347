"""The settings of one ``kuma-dp run``: defaults, then flags, then the environment, then a check of all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from kuma.core.errors import ConfigInvalid
from kuma.core.units import parse_duration
from kuma.dp.options import OPTIONS, Option, Sort, Standing

Value = str | Sequence[str] | None
_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_LEVELS: Final = frozenset(("", "trace", "debug", "info", "warning", "warn", "error", "critical", "off"))
_UNEXPANDED: Final = frozenset("$(){}")


@dataclass(frozen=True, slots=True)
class ControlPlaneAddress:
    """Where the control plane's data plane server is."""

    scheme: str
    host: str
    port: int
    path: str
    """Without a slash at its end."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What one run goes by. Texts are empty and numbers 0 where nothing was given."""

    control_plane: ControlPlaneAddress
    ca_cert: str
    ca_cert_file: str
    skip_verify: bool
    retry_backoff: timedelta
    retry_max_duration: timedelta
    name: str
    mesh: str
    proxy_type: str
    resource_path: str
    resource: str
    variables: Mapping[str, str]
    token_path: str
    token: str
    binary_path: str
    work_dir: str
    concurrency: int
    drain_time: timedelta
    envoy_log_level: str
    envoy_component_log_level: str
    max_memory_bytes: int
    readiness_port: int
    readiness_port_chosen: bool
    """Whether the user chose the port; then no other port will do."""
    metrics_cert_path: str
    metrics_key_path: str
    system_ca_path: str
    ipv6: bool
    dns_port: int
    spire_socket_path: str
    features: tuple[str, ...]
    host_ip: str
    kubernetes: bool
    idle: tuple[str, ...]
    """Settings that were given and have no effect yet, as the user wrote them."""


def resolve(flags: Mapping[str, Value], environment: Mapping[str, str]) -> Settings:
    """
    The settings that flags (by option name, ``None`` where not given) and environment make together.

    Raises:
        ConfigInvalid: something cannot be read or makes no sense; the text names every such setting.
    """
    values: dict[str, Any] = {}
    given: dict[str, str] = {}
    problems: list[str] = []
    for option in OPTIONS:
        raw, source = _source(option, flags, environment)
        if source:
            given[option.name] = source
        try:
            values[option.name] = _read(option, raw)
        except ValueError as error:
            problems.append(f"{source or option.env}: {error}")
    if not problems:
        problems.extend(_contradictions(values, given, environment))
    if problems:
        raise ConfigInvalid("; ".join(problems))
    return _settings(values, given, environment)


def _source(option: Option, flags: Mapping[str, Value], environment: Mapping[str, str]) -> tuple[Value, str]:
    """The raw value, and how the user gave it (empty for a default)."""
    if option.env and option.env in environment:
        return environment[option.env], option.env
    value = flags.get(option.name)
    if value is None or value == ():
        return None, ""
    return value, option.flags[-1]


def _read(option: Option, raw: Value) -> Any:
    if option.sort is Sort.PAIRS:
        return dict(_pairs(raw or ()))
    if option.sort is Sort.LIST:
        return tuple(raw or ())
    text = option.default if raw is None else str(raw)
    match option.sort:
        case Sort.BOOL:
            if text in _TRUE or text in _FALSE:
                return text in _TRUE
            raise ValueError(f"{text!r} is neither true nor false")
        case Sort.INT:
            if not text.isascii() or not text.isdigit() or len(text) > 18:
                raise ValueError(f"{text!r} is not a whole number from 0 on")
            return int(text)
        case Sort.DURATION:
            return _duration(text)
        case _:
            if not text.isprintable() and option.name not in ("resource", "token", "ca_cert"):
                raise ValueError("contains a character that cannot be printed")
            return text


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}; durations are written like 30s or 1m30s") from error


def _pairs(items: str | Sequence[str]) -> Iterator[tuple[str, str]]:
    """As Kuma reads them: one pair as it stands, or several separated by commas."""
    for item in [items] if isinstance(items, str) else items:
        for pair in [item] if item.count("=") == 1 else item.split(","):
            key, equals, value = pair.partition("=")
            if not equals or not key.strip():
                raise ValueError(f"{pair!r} must be formatted as key=value")
            yield key.strip(), value


def _contradictions(
    values: Mapping[str, Any], given: Mapping[str, str], environment: Mapping[str, str]
) -> Iterator[str]:
    for option in OPTIONS:
        if option.standing is Standing.REFUSED and option.name in given and values[option.name]:
            yield (
                f"{given[option.name]}: not available yet in this release; leave it out. Applications reach services "
                "through the outbounds of their Dataplane (networking.outbound)"
            )
    try:
        _address(values["cp_address"])
    except ValueError as error:
        yield f"{given.get('cp_address', '--cp-address')}: {error}"
    if values["proxy_type"] not in ("dataplane", "ingress", "egress"):
        yield f"{given['proxy_type']}: {values['proxy_type']!r} is not one of dataplane, ingress, egress"
    if values["drain_time"] <= timedelta(0):
        yield f"{given['drain_time']}: must be positive"
    if values["retry_backoff"] <= timedelta(0):
        yield f"{given['retry_backoff']}: must be positive"
    for name in ("readiness_port", "dns_envoy_port"):
        if not 1 <= values[name] <= 65535:
            yield f"{given[name]}: must be a port from 1 to 65535"
    if values["envoy_log_level"] not in _LEVELS:
        yield f"{given['envoy_log_level']}: {values['envoy_log_level']!r} is not a level of Envoy"
    if values["xds_variant"] not in ("", "GRPC", "DELTA_GRPC"):
        yield f"{given['xds_variant']}: {values['xds_variant']!r} is neither GRPC nor DELTA_GRPC"
    yield from _identity(values, environment)


def _identity(values: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    """Who the proxy is: a resource says it all, or a name and, for a dataplane, a mesh."""
    if values["resource_path"] or values["resource"]:
        if values["name"] or values["mesh"]:
            yield (
                "--name and --mesh cannot be specified when a dataplane definition is provided, mesh and name are "
                "read from it"
            )
        return
    if not _proxy_name(values, environment):
        yield ".Dataplane is not valid: .Name must be non-empty (give --name, or a definition by --dataplane-file)"
    if not values["mesh"] and values["proxy_type"] == "dataplane":
        yield ".Dataplane is not valid: .Mesh must be non-empty (give --mesh, or a definition by --dataplane-file)"


def _proxy_name(values: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """On Kubernetes a name that nobody filled in (``$(POD_NAME)``) is made from the pod."""
    name: str = values["name"]
    if name and not _UNEXPANDED & set(name):
        return name
    pod, namespace = environment.get("POD_NAME", ""), environment.get("POD_NAMESPACE", "")
    return f"{pod}.{namespace}" if pod and namespace else ""


def _address(text: str) -> ControlPlaneAddress:
    url = urlsplit(text)
    if url.scheme not in ("http", "https"):
        raise ValueError(f"{text!r} must start with https://")
    if not url.hostname or url.username or url.query or url.fragment:
        raise ValueError(f"{text!r} is not of the form https://<host>:<port>")
    try:
        port = url.port
    except ValueError:
        raise ValueError(f"{text!r} has no port from 1 to 65535") from None
    return ControlPlaneAddress(
        url.scheme, url.hostname, port or (443 if url.scheme == "https" else 80), url.path.rstrip("/")
    )


def _settings(values: Mapping[str, Any], given: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    resource = values["resource_path"] or values["resource"]
    same = {name: values[name] for name in Settings.__dataclass_fields__ if name in values}
    idle = tuple(
        given[option.name]
        for option in OPTIONS
        if option.standing is Standing.IDLE and option.name in given and values["dns_enabled"]
    )
    return Settings(
        **same
        | {
            "name": "" if resource else _proxy_name(values, environment),
            "work_dir": values["work_dir"] or values["config_dir"] or values["socket_dir"],
        },
        control_plane=_address(values["cp_address"]),
        readiness_port_chosen="readiness_port" in given,
        dns_port=values["dns_envoy_port"],
        features=tuple(_features(values)),
        host_ip=environment.get("HOST_IP", ""),
        kubernetes=bool(environment.get("POD_NAME")),
        idle=idle,
    )


def _features(values: Mapping[str, Any]) -> Iterator[str]:
    """
    What the control plane may count on.

    Only what this program does is claimed: access logs through a named pipe, OpenTelemetry through kuma-dp, DNS and
    the transparent proxy are not among it yet.
    """
    claims = (
        ("feature-bind-outbounds", values["bind_outbounds"]),
        ("feature-delta-grpc", values["xds_variant"] == "DELTA_GRPC"),
        ("feature-sotw-grpc", values["xds_variant"] == "GRPC"),
        ("feature-unified-resource-naming", values["unified_naming"]),
        ("feature-spire", values["spire_supported"]),
        ("feature-strict-inbound-ports", values["strict_inbound_ports"]),
        ("feature-reuse-port", values["reuse_port"]),
    )
    return (name for name, claimed in claims if claimed)

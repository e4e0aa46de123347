"""Prometheus metrics as a Mesh or a Dataplane configures them: schema, rules and the defaults kept at store time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import re2
from pydantic import Field, ValidationError

from kuma.core.errors import Violation
from kuma.core.model.labels import SERVICE_TAG
from kuma.core.model.spec import LegacySpec, violations
from kuma.core.resources._wire import Flag, Struct, UInt32, WireEnum

DEFAULT_PORT: Final = 5670
DEFAULT_PATH: Final = "/metrics"
DEFAULT_SERVICE: Final = "dataplane-metrics"


class TlsMode(WireEnum):
    """How the metrics endpoint of a proxy is protected."""

    ACTIVE_MTLS_BACKEND = "activeMTLSBackend"
    PROVIDED_TLS = "providedTLS"
    DISABLED = "disabled"


class Tls(LegacySpec):
    """Protection of the metrics endpoint of a proxy."""

    mode: TlsMode = TlsMode.ACTIVE_MTLS_BACKEND


class EnvoyFilter(LegacySpec):
    """Which of Envoy's own metrics are offered."""

    filter_regex: str = ""
    used_only: Flag | None = None


class Aggregate(LegacySpec):
    """An application endpoint that kuma-dp scrapes together with Envoy's own metrics."""

    name: str = ""
    port: UInt32 = 0
    path: str = ""
    enabled: Flag | None = None
    address: str = ""


class PrometheusConf(LegacySpec):
    """``conf`` of a backend of type ``prometheus``."""

    port: UInt32 = 0
    path: str = ""
    tags: Mapping[str, str] = Field(default_factory=dict)
    skip_mtls: Flag | None = Field(default=None, alias="skipMTLS")
    aggregate: tuple[Aggregate, ...] = ()
    envoy: EnvoyFilter | None = None
    tls: Tls | None = None


class MetricsBackend(LegacySpec):
    """A way to offer metrics; ``conf`` depends on ``type``."""

    name: str = ""
    type: str = ""
    conf: Struct | None = None


def prometheus_conf(backend: MetricsBackend) -> PrometheusConf:
    """
    What the free-form ``conf`` of a Prometheus backend says.

    Raises:
        ValidationError: a value of the wrong type; ``validate_backend`` reports it to the writer.
    """
    return PrometheusConf.model_validate(backend.conf or {})


def validate_backend(backend: MetricsBackend, field: str) -> Iterator[Violation]:
    if backend.type != "prometheus":
        yield Violation(f"{field}.type".removeprefix("."), 'unknown backend type. Available backends: "prometheus"')
        return
    here = f"{field}.conf"
    try:
        conf = prometheus_conf(backend)
    except ValidationError as error:
        yield from violations(error, here)
        return
    if conf.skip_mtls is not None and conf.tls is not None:
        open_endpoint = conf.tls.mode is TlsMode.DISABLED
        # Both together are what a stored Mesh says after defaulting; only a contradiction is an error.
        if conf.skip_mtls is not open_endpoint and (conf.skip_mtls or open_endpoint):
            yield Violation(here, "skipMTLS and tls configuration cannot be defined together")
    if conf.envoy is not None and conf.envoy.filter_regex:
        yield from _regex(f"{here}.envoy.filterRegex", conf.envoy.filter_regex)
    seen: set[str] = set()
    for index, aggregate in enumerate(conf.aggregate):
        if aggregate.name in seen:
            yield Violation(
                f"{here}.aggregate[{index}].name", f"duplicate entry: {aggregate.name}, values have to be unique"
            )
        seen.add(aggregate.name)


def complete_backend(backend: MetricsBackend) -> MetricsBackend:
    """The backend with every default written out, as it is stored in a Mesh."""
    if backend.type != "prometheus":
        return backend
    conf = prometheus_conf(backend)
    tls = conf.tls or Tls(mode=TlsMode.DISABLED if conf.skip_mtls else TlsMode.ACTIVE_MTLS_BACKEND)
    full = conf.model_copy(
        update={
            "port": conf.port or DEFAULT_PORT,
            "path": conf.path or DEFAULT_PATH,
            "tags": conf.tags or {SERVICE_TAG: DEFAULT_SERVICE},
            "tls": tls,
            "skip_mtls": None if tls.mode is TlsMode.PROVIDED_TLS else conf.skip_mtls,
        }
    )
    text = full.to_json()
    text["tls"] = {"mode": tls.mode.value}  # printed although it is the enum's zero: a reader must see what holds
    return backend.model_copy(update={"conf": text})


def _regex(field: str, text: str) -> Iterator[Violation]:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options=options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else ""
        words = reason.decode(errors="replace") if isinstance(reason, bytes) else str(error)
        yield Violation(field, f"provided regexp isn't correct: {words}")

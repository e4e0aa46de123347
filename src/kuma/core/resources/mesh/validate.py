"""The rules of a Mesh. Paths and texts are Kuma's, slips included, because scripts read them (spec/resources.md §4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from kuma.core.errors import Violation
from kuma.core.model.resource import Resource
from kuma.core.model.spec import violations
from kuma.core.resources import _rules, prometheus
from kuma.core.resources.mesh.backends import (
    BUILTIN,
    CA_TYPES,
    PROVIDED,
    RSA_BITS,
    DataSource,
    FileLog,
    Zipkin,
    builtin_conf,
    lifetime,
    logging_conf,
    provided_conf,
    tracing_conf,
)
from kuma.core.resources.mesh.spec import (
    CaBackend,
    Constraints,
    Logging,
    LoggingBackend,
    Mesh,
    Metrics,
    Mtls,
    Tracing,
    TracingBackend,
)

MAX_NAME: Final = 63
MAX_BACKENDS: Final = 16
"""Each needs a key that is made while its user waits; two are enough to change a CA."""

_API_VERSIONS: Final = ("httpJsonV1", "httpJson", "httpProto")


def validate(resource: Resource[Mesh]) -> Iterator[Violation]:
    mesh = resource.spec
    if len(resource.meta.name) > MAX_NAME:
        yield Violation("name", f"cannot be longer than {MAX_NAME} characters")
    if mesh.mtls is not None:
        yield from _mtls(mesh.mtls)
    if mesh.logging is not None:
        yield from _logging(mesh.logging)
    if mesh.tracing is not None:
        yield from _tracing(mesh.tracing)
    if mesh.metrics is not None:
        yield from _metrics(mesh.metrics)
    if mesh.constraints is not None:
        yield from _constraints(mesh.constraints)
    if mesh.routing is not None and mesh.routing.zone_egress and not (mesh.mtls and mesh.mtls.enabled_backend):
        yield Violation("mtls", "has to be set when zoneEgress enabled")


def warnings(resource: Resource[Mesh]) -> Iterator[str]:
    name = resource.meta.name
    if not _rules.is_rfc1035(name):
        yield (
            f"Invalid Mesh resource name: '{name}'. It does not conform to the DNS format (RFC 1035). "
            f"This is deprecated. Errors: {_rules.RFC1035_TEXT}"
        )
    mtls = resource.spec.mtls
    for index, backend in enumerate(mtls.backends if mtls is not None else ()):
        if backend.type == PROVIDED and (key := provided_conf(backend).key) and (key.inline or key.inline_string):
            yield (
                f"mtls.backends[{index}].conf.key is written in the Mesh: whoever may read meshes can read it; "
                "put it into a Secret, and name that with 'secret'"
            )


def _mtls(mtls: Mtls) -> Iterator[Violation]:
    if len(mtls.backends) > MAX_BACKENDS:
        yield Violation("mtls.backends", f"cannot have more than {MAX_BACKENDS} backends")
    yield from _rules.unique_names("mtls.backends", (backend.name for backend in mtls.backends))
    for index, backend in enumerate(mtls.backends):
        yield from _ca_backend(backend, f"mtls.backends[{index}]", skip_conf=mtls.skip_validation)
    if mtls.enabled_backend and mtls.enabled_backend not in {backend.name for backend in mtls.backends}:
        yield Violation("mtls.enabledBackend", "has to be set to one of the backends in the mesh")


def _ca_backend(backend: CaBackend, field: str, *, skip_conf: bool) -> Iterator[Violation]:
    if backend.dp_cert is not None and backend.dp_cert.rotation is not None:
        yield from _lifetime("mtls.dpcert.rotation.expiration", backend.dp_cert.rotation.expiration)
    if backend.type not in CA_TYPES:
        yield Violation(f"{field}.type", "could not find installed plugin for this type")
        return
    try:
        found = tuple(_builtin(backend, field) if backend.type == BUILTIN else _provided(backend, field))
    except ValidationError as error:
        # Also with skipValidation: what cannot be read cannot be acted on.
        yield from violations(error, f"{field}.conf")
        return
    if not skip_conf:
        yield from found


def _lifetime(field: str, text: str) -> Iterator[Violation]:
    try:
        lifetime(text)
    except ValueError as error:
        yield Violation(field, str(error))


def _builtin(backend: CaBackend, field: str) -> Iterator[Violation]:
    ca_cert = builtin_conf(backend).ca_cert
    if ca_cert is None:
        return
    yield from _lifetime(f"{field}.conf.caCert.expiration", ca_cert.expiration)
    if ca_cert.rsa_bits and ca_cert.rsa_bits not in RSA_BITS:
        yield Violation(f"{field}.conf.caCert.rsaBits", f"must be in inclusive range [{RSA_BITS[0]}, {RSA_BITS[-1]}]")


def _provided(backend: CaBackend, field: str) -> Iterator[Violation]:
    conf = provided_conf(backend)
    for name, source in (("cert", conf.cert), ("key", conf.key)):
        here = f"{field}.conf.{name}"
        if source is None:
            yield Violation(here, "has to be defined")
        else:
            yield from _data_source(here, source)


def _data_source(field: str, source: DataSource) -> Iterator[Violation]:
    if not source.chosen:
        yield Violation(field, "data source has to be chosen. Available sources: secret, file, inline, inlineString")
    elif len(source.chosen) > 1:
        yield Violation(field, f"data source must have only one type defined: {', '.join(source.chosen)}")
    elif source.is_empty:
        yield Violation(field, "data source cannot be empty")


def _logging(logging: Logging) -> Iterator[Violation]:
    yield from _rules.unique_names("logging.backends", (backend.name for backend in logging.backends))
    for index, backend in enumerate(logging.backends):
        yield from _logging_backend(backend, f"logging.backends[{index}]")
    if logging.default_backend and logging.default_backend not in {backend.name for backend in logging.backends}:
        yield Violation("logging.defaultBackend", "has to be set to one of the logging backend in mesh")


def _logging_backend(backend: LoggingBackend, field: str) -> Iterator[Violation]:
    try:
        conf = logging_conf(backend)
    except ValidationError as error:
        yield from violations(error, f"{field}.config")
        return
    if conf is None:
        yield Violation(f"{field}.type", 'unknown backend type. Available backends: "tcp", "file"')
    elif isinstance(conf, FileLog):
        if not conf.path:
            yield Violation(f"{field}.config.path", "cannot be empty")
    elif not conf.address:
        yield Violation(f"{field}.config.address", "cannot be empty")
    elif not _rules.is_host_port(conf.address):
        yield Violation(f"{field}.config.address", "has to be in format of HOST:PORT")


def _tracing(tracing: Tracing) -> Iterator[Violation]:
    yield from _rules.unique_names("tracing.backends", (backend.name for backend in tracing.backends))
    for index, backend in enumerate(tracing.backends):
        yield from _tracing_backend(backend, f"tracing.backends[{index}]")
    if tracing.default_backend and tracing.default_backend not in {backend.name for backend in tracing.backends}:
        yield Violation("tracing.defaultBackend", "has to be set to one of the tracing backend in mesh")


def _tracing_backend(backend: TracingBackend, field: str) -> Iterator[Violation]:
    if backend.sampling is not None and not 0 <= backend.sampling <= 100:
        yield Violation(f"{field}.sampling", "has to be in [0.0 - 100.0] range")
    try:
        conf = tracing_conf(backend)
    except ValidationError as error:
        yield from violations(error, f"{field}.config")
        return
    if conf is None:
        yield Violation(f"{field}.type", 'unknown backend type. Available backends: "zipkin", "datadog"')
    elif isinstance(conf, Zipkin):
        yield from _zipkin(conf, f"{field}.config")
    else:
        if not conf.address:
            yield Violation(f"{field}.config.address", "cannot be empty")
        yield from _rules.port(f"{field}.config.port", conf.port)


def _zipkin(conf: Zipkin, field: str) -> Iterator[Violation]:
    if not conf.url:
        yield Violation(f"{field}.url", "cannot be empty")
    else:
        try:
            if not _rules.url_port(conf.url):
                yield Violation(f"{field}.url", "port has to be explicitly specified")
        except ValueError:
            yield Violation(f"{field}.url", "invalid URL")
    if conf.api_version and conf.api_version not in _API_VERSIONS:
        yield Violation(f"{field}.apiVersion", f"has invalid value. Allowed values: {', '.join(_API_VERSIONS)}")


def _metrics(metrics: Metrics) -> Iterator[Violation]:
    yield from _rules.unique_names("metrics.backends", (backend.name for backend in metrics.backends))
    for index, backend in enumerate(metrics.backends):
        yield from prometheus.validate_backend(backend, f"metrics.backends[{index}]")
    if metrics.enabled_backend and metrics.enabled_backend not in {backend.name for backend in metrics.backends}:
        yield Violation("metrics.enabledBackend", "has to be set to one of the backends in the mesh")


def _constraints(constraints: Constraints) -> Iterator[Violation]:
    proxies = constraints.dataplane_proxy
    if proxies is None:
        return
    for name, rules in (("requirements", proxies.requirements), ("restrictions", proxies.restrictions)):
        for index, rule in enumerate(rules):
            yield from _rules.selector(f"constraints.dataplaneProxy.{name}[{index}].tags", rule.tags)

"""What kuma-dp sends to ``POST /bootstrap``.

Field names are Kuma's wire names. As for any Go program that reads JSON, ``null`` means "not given" and unknown
fields are ignored, so that a newer kuma-dp can join. Sizes are limited: this is read before anyone is authenticated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from kuma.core.errors import BadRequest
from kuma.core.model.spec import field_path
from kuma.core.model.text import Limits, parse_json
from kuma.core.xds.node import ProxyType

MAX_REQUEST_BYTES: Final = 1 << 20
_LIMITS: Final = Limits(size=MAX_REQUEST_BYTES)

Name = Annotated[str, Field(max_length=253)]
Path = Annotated[str, Field(max_length=4096)]
Short = Annotated[str, Field(max_length=1024)]
Token = Annotated[str, Field(max_length=16 << 10)]
Pem = Annotated[str, Field(max_length=256 << 10)]
Port = Annotated[int, Field(ge=0, le=65535)]


def _known_type(value: object) -> object:
    return value or ProxyType.DATAPLANE


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True, hide_input_in_errors=True
    )


class KumaDpVersion(_Part):
    """The build of kuma-dp."""

    version: Short = ""
    git_tag: Short = ""
    git_commit: Short = ""
    build_date: Short = ""


class EnvoyVersion(_Part):
    """The build of the proxy's Envoy, and whether its kuma-dp was made for it."""

    version: Short = ""
    build: Short = ""
    kuma_dp_compatible: bool = False


class Version(_Part):
    """The programs on the proxy's side."""

    kuma_dp: KumaDpVersion = KumaDpVersion()
    envoy: EnvoyVersion = EnvoyVersion()


class ProxyResources(_Part):
    """What the machine grants the proxy; 0 is unknown."""

    max_heap_size_bytes: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0


class MetricsResources(_Part):
    """Files with which the proxy serves its metrics over TLS."""

    cert_path: Path = ""
    key_path: Path = ""


class SpireResources(_Part):
    """Where the SPIRE agent listens."""

    socket_path: Path = ""


class BootstrapRequest(_Part):
    """A proxy asks to join."""

    mesh: Annotated[str, Field(max_length=63)] = ""
    name: Name = ""
    proxy_type: Annotated[ProxyType, BeforeValidator(_known_type)] = ProxyType.DATAPLANE
    dataplane_token: Annotated[Token, Field(repr=False)] = ""
    dataplane_token_path: Path = ""
    dataplane_resource: Annotated[str, Field(max_length=MAX_REQUEST_BYTES)] = ""
    """The text of the resource, when the proxy brings it along."""
    version: Version = Version()
    ca_cert: Pem = ""
    dynamic_metadata: Annotated[dict[Short, Short], Field(max_length=256)] = {}
    otel_env: dict[str, Any] = {}
    dns_port: Port = 0
    readiness_port: Port = 0
    app_probe_proxy_enabled: Annotated[bool, Field(alias="appProbeProxyDisabled")] = False
    """The wire name says the opposite of what the value means: true is enabled."""
    operating_system: Short = ""
    features: Annotated[tuple[Short, ...], Field(max_length=256)] = ()
    resources: ProxyResources = ProxyResources()
    workdir: Path = ""
    metrics_resources: MetricsResources = MetricsResources()
    system_ca_path: Path = ""
    dataplane_config: dict[str, Any] = {}
    """Configuration of the transparent proxy."""
    ipv6_enabled: Annotated[bool, Field(alias="ipv6Enabled")] = True
    spire_resources: SpireResources = SpireResources()

    @classmethod
    def from_json(cls, body: bytes) -> BootstrapRequest:
        """
        Read a request body.

        Raises:
            TooLarge: over ``MAX_REQUEST_BYTES``.
            BadRequest: not JSON, or fields that cannot be understood; all of them are named.
        """
        data = parse_json(body, _LIMITS)
        if not isinstance(data, Mapping):
            raise BadRequest("bootstrap request: a JSON object is expected")
        try:
            return cls.model_validate(_without_null(data))
        except ValidationError as error:
            raise BadRequest("bootstrap request: " + "; ".join(_complaints(error))) from error


def _complaints(error: ValidationError) -> list[str]:
    """Where and why; never the value, which may be a token."""
    return [f"{field_path(item['loc']) or 'body'}: {item['msg']}" for item in error.errors(include_url=False)]


def _without_null(value: Any) -> Any:
    """Go prints an unset list or map as ``null``."""
    if isinstance(value, Mapping):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return value

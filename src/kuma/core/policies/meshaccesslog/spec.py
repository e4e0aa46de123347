"""What a user may write in a MeshAccessLog."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from kuma.core.model.spec import Spec
from kuma.core.policies._kit.spec import Match, PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Entries


class JsonField(Spec):
    """A field of a line in JSON."""

    key: str
    value: str


class Format(Spec):
    """What a line says: text or JSON, with Envoy's commands and Kuma's placeholders."""

    type: Literal["Plain", "Json"]
    plain: str | None = None
    json_: Annotated[tuple[JsonField, ...] | None, Field(alias="json")] = None
    omit_empty_values: bool = False


class File(Spec):
    """Lines in a file."""

    path: Annotated[str, Field(min_length=1)]
    format: Format | None = None


class Tcp(Spec):
    """Lines to a server."""

    address: Annotated[str, Field(min_length=1)]
    format: Format | None = None


class Attribute(Spec):
    """An attribute of a log record."""

    key: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9]|[._][a-z0-9])*$")]
    value: str


class BackendRef(Spec):
    """A collector that is a resource of its own."""

    kind: Literal["MeshOpenTelemetryBackend"]
    labels: dict[str, str] | None = None


class OpenTelemetry(Spec):
    """Log records to a collector; ``body`` is text or an OTLP ``AnyValue``."""

    endpoint: str = ""
    backend_ref: BackendRef | None = None
    attributes: tuple[Attribute, ...] | None = None
    body: Any = None


class Backend(Spec):
    """Where log lines go."""

    type: Literal["Tcp", "File", "OpenTelemetry"]
    tcp: Tcp | None = None
    file: File | None = None
    open_telemetry: OpenTelemetry | None = None


class Conf(Spec):
    """All the places where lines go; an empty list switches logging off."""

    backends: tuple[Backend, ...] | None = None


class Item(Spec):
    """An entry of ``to`` (destinations) or ``from`` (sources)."""

    target_ref: TargetRef
    default: Conf


class Rule(Spec):
    """Logs of inbound traffic, of all clients or of those that match one of ``matches``."""

    matches: Entries[Match] = ()
    default: Conf


class MeshAccessLog(PolicySpec):
    """The spec of a MeshAccessLog."""

    to: Entries[Item] = ()
    from_: Annotated[Entries[Item], Field(alias="from")] = ()
    rules: Entries[Rule] = ()

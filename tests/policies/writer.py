"""
A user who writes policies, for tests that look at many of them.

The schema says what may be written; what makes sense beyond that stands in tables here. A careful user's documents are
legal after ``legal`` has taken out what a validator has something against: so values at the edge of what is accepted
are tried, and the validator is the one who decides.
"""

from __future__ import annotations

import builtins
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from kuma.core.errors import Violation
from kuma.core.model.spec import violations
from kuma.core.policies._kit.backends import BackendRef
from kuma.core.policies._kit.contract import Policy
from kuma.core.policies._kit.headers import HeaderKeyValue, HeaderMatch
from kuma.core.policies._kit.spec import SniMatch, SpiffeIdMatch, TargetRef
from kuma.core.policies.meshaccesslog import spec as logs
from kuma.core.policies.meshfaultinjection.spec import ResponseBandwidth
from kuma.core.policies.meshhttproute import spec as routes
from kuma.core.policies.meshloadbalancingstrategy import spec as balancing
from kuma.core.policies.meshproxypatch.spec import Modification
from kuma.core.policies.meshretry import spec as retries
from tests.policies import values

T = TypeVar("T")
Decide = Callable[[int, int], int]
Document = dict[str, Any]

_MOST_REPAIRS: Final = 60
_PARTS: Final = ("to", "from", "rules", "default")
_FRAME: Final = frozenset({"to", "from_", "rules", "default", "local", "append_modifications"})
"""Fields without which a policy says nothing."""
_NEARLY_ALWAYS: Final = 9
_USUAL: Final = 2
_MANY: Final = 12
_RARELY: Final = 20
_TOKEN: Final = re.compile(r"\[(\d+)\]|\[\"([^\"]*)\"\]|([^.\[\]]+)")


@dataclass
class Writer:
    """
    Someone who knows the schema. A careful one also writes values that make sense.

    Of ten values ``bold`` are at the edge of what is accepted; of ten optional fields ``talkative`` are written.

    ``decide`` gives a whole number between two others, both included; ``services`` are what references may name.
    """

    decide: Decide
    careful: bool
    bold: int = 0
    talkative: int = 9
    services: Sequence[str] = ("backend", "other")
    _names: count[int] = dataclasses.field(default_factory=count)
    _at_length: bool = False

    def policy(self, policy: Policy) -> Document:
        """The spec of a policy; a careful user does not say which proxies and destinations it is for."""
        written: Document = self.object(policy.spec)
        if not self.careful:
            return written
        if not written.keys() - {"targetRef"}:
            written = self.object(policy.spec)
        written.pop("targetRef", None)
        if policy.kind in {"MeshRateLimit", "MeshFaultInjection"}:
            # What is for gateways, and what for all others, cannot stand in one policy.
            written["targetRef"] = {"kind": "Mesh", "proxyTypes": ["Sidecar"]}
            written.pop("to", None)
        for entry in written.get("to", ()) if policy.destinations is not None else ():
            # Routes lead away from services, never from the whole mesh; host names are for gateways.
            entry["targetRef"] = {"kind": "MeshService", "name": self.pick(*self.services)}
            entry.pop("hostnames", None)
        lists = [name for name in ("to", "from", "rules") if written.get(name)]
        if "rules" in lists and len(lists) > 1:
            gone = ["rules"] if self.coin(5) else ["to", "from"]
            written = {name: value for name, value in written.items() if name not in gone}
        return written

    def object(self, model: type[BaseModel]) -> Any:
        """Something of a type; a careful user knows what some types mean."""
        if self.careful and model in _SENSE:
            return _SENSE[model](self)
        written = {
            field.alias or name: self.value(field.annotation, _longest(field), f"{model.__name__}.{field.alias}")
            for name, field in model.model_fields.items()
            if field.is_required() or self.coin(_NEARLY_ALWAYS if self.careful and name in _FRAME else None)
        }
        if self.careful and written.get("matches") and "http" in _fields_of_default(model):
            written["default"] = self._of_requests(written.get("default", {}))
        return written

    def value(self, annotation: Any, most: int, where: str) -> Any:
        """A value of a type, for the field ``where``; a list has ``most`` items."""
        if self.careful and where in values.BY_FIELD:
            return self.of(values.BY_FIELD[where])
        if hasattr(annotation, "model_fields"):
            return self.object(annotation)
        if annotation == int | str and self.careful:
            return self.of(values.NUMBERS)
        parts = [part for part in getattr(annotation, "__args__", ()) if part not in (type(None), ...)]
        match getattr(annotation, "__origin__", None):
            case builtins.tuple:
                return self._list(parts[0], most, where)
            case builtins.dict:
                return {self.text(): self.text() for _ in range(self.a(2))}
        if parts:
            return self.pick(*parts) if isinstance(parts[0], str | int) else self.value(parts[0], most, where)
        return self._scalar(annotation)

    def _scalar(self, annotation: Any) -> Any:
        if annotation is bool:
            return self.coin(5)
        if annotation is int:
            return self.of(values.COUNTS) if self.careful else self.a(200, least=-1)
        if annotation is str:
            return self.of(values.TEXTS) if self.careful else self.pick("", "503", "a", "A b", "spiffe://d/a", "x(")
        # What is left are durations, and what may be anything.
        return self.of(values.DURATIONS) if self.careful else self.pick("0s", "-1s", "5s", "soon")

    def of(self, choice: values.Choice) -> Any:
        """One of the usual values; of a bold user, often one of those at the edge."""
        usual, edge = choice
        if edge and self.a(9) < self.bold:
            return self.pick(*edge)
        return self.pick(*usual)

    def text(self) -> str:
        """A short text."""
        return self.of(values.TEXTS) if self.careful else self.pick("", "a", "b c", "ü")

    def new(self, prefix: str) -> str:
        """A name that nothing else has."""
        return f"{prefix}{next(self._names)}"

    def a(self, most: int, *, least: int = 0) -> int:
        """A whole number."""
        return self.decide(least, most)

    def coin(self, of_ten: int | None = None) -> bool:
        """Whether something is written."""
        usual = self.talkative if self.careful else 5
        return self.a(9) < (usual if of_ten is None else of_ten)

    def pick(self, *choice: T) -> T:
        """One of some values."""
        return choice[self.a(len(choice) - 1)]

    def some(self, written: Mapping[str, Any]) -> Document:
        """Some of the fields."""
        return {name: value for name, value in written.items() if self.coin()}

    def _list(self, item: Any, most: int, where: str) -> list[Any]:
        """Up to two items; of a bold user once in a while very many, though not lists of them."""
        if self.bold and not self._at_length and self.a(_RARELY) == 0:
            self._at_length = True
            made = [self.value(item, _USUAL, where) for _ in range(min(_MANY, most))]
            self._at_length = False
            return made
        return [self.value(item, _USUAL, where) for _ in range(self.a(min(_USUAL, most), least=int(self.careful)))]

    def _of_requests(self, default: Document) -> Document:
        """What a conf says of requests; only that can depend on the client."""
        default = {name: part for name, part in default.items() if name in {"http", "local"}}
        if "local" in default:
            default["local"].pop("tcp", None)
            return default
        default.setdefault("http", {"requestTimeout": "5s"})
        if isinstance(default["http"], dict):
            wanted = {"requestTimeout", "streamIdleTimeout"}
            default["http"] = {name: one for name, one in default["http"].items() if name in wanted}
        return default


def legal(policy: Policy, written: Document) -> Document | None:
    """A spec without the parts that a validator has something against; None when hardly anything stays."""
    repaired = repair({"spec": written}, lambda document: faults_of(policy, document["spec"]))
    says_something = repaired is not None and any(repaired["spec"].get(name) for name in _PARTS)
    return repaired["spec"] if repaired is not None and says_something else None


def repair(document: Document, faults: Callable[[Document], list[Violation]]) -> Document | None:
    """A document without the parts that somebody has something against; None when one of its own fields is such."""
    repaired = deepcopy(document)
    for _ in range(_MOST_REPAIRS):
        found = faults(repaired)
        if not found:
            return repaired
        places = [_place(repaired, path) for path in dict.fromkeys(fault.field for fault in found)]
        # What is wrong itself, or else what something is missing in. From behind: a list moves up where it is cut.
        for owner, key, _ in [place for place in reversed(places) if place[2]] or places[:1]:
            if owner is None or owner is repaired:
                return None
            if key in (owner if isinstance(owner, dict) else range(len(owner))):
                del owner[key]
    return None


def faults_of(policy: Policy, written: Document) -> list[Violation]:
    """What the schema or the validator has against a document."""
    try:
        spec = policy.spec.model_validate_json(json.dumps(written))
    except ValidationError as error:
        return list(violations(error, "spec"))
    return list(policy.validate(spec))


def _place(document: Document, path: str) -> tuple[Any, Any, bool]:
    """
    Where the thing is that a path leads to, or what is nearest to it, and whether it is that itself.

    Some of Kuma's paths have parts that a document has not, and call ``rules`` ``from``.
    """
    if "from" not in document.get("spec", {"from": None}):
        path = path.replace("spec.from", "spec.rules")
    owner: Any = None
    key: Any = None
    here: Any = document
    exact = False
    for token in _tokens(path):
        exact = (isinstance(here, dict) and token in here) or (isinstance(here, list) and token in range(len(here)))
        if exact:
            owner, key, here = here, token, here[token]
    return owner, key, exact


def _tokens(path: str) -> Iterator[str | int]:
    for number, quoted, name in _TOKEN.findall(path):
        yield int(number) if number else quoted or name


def _longest(field: Any) -> int:
    """How many items the schema lets a list have."""
    return min([_MANY, *(one.max_length for one in field.metadata if hasattr(one, "max_length"))])


def _fields_of_default(model: type[BaseModel]) -> Mapping[str, Any]:
    if "default" not in model.model_fields:
        return {}
    annotation: Any = model.model_fields["default"].annotation
    fields: Mapping[str, Any] = annotation.model_fields
    return {"http": None} if "local" in fields else fields


def _backend(writer: Writer) -> Document:
    tags = {"version": writer.pick("v1", "v2")}
    kind = writer.pick(
        {"kind": "MeshService"}, {"kind": "MeshService"}, {"kind": "MeshServiceSubset", "tags": tags}, *values.ELSEWHERE
    )
    return {**kind, "name": writer.pick(*writer.services), "weight": writer.of(values.WEIGHTS)}


def _header_match(writer: Writer) -> Document:
    kind = writer.pick("Exact", "Present", "RegularExpression", "Absent", "Prefix")
    value = {} if kind in {"Present", "Absent"} else {"value": writer.of(values.PATTERNS)}
    return {"type": kind, "name": writer.of(values.HEADER_NAMES), **value}


def _filter(writer: Writer) -> Document:
    kind = writer.pick(*routes.Filter.model_fields["type"].annotation.__args__)  # type: ignore[union-attr]
    [part] = [one for one in routes.Filter.model_fields.values() if (one.alias or "").lower() == kind.lower()]
    return {"type": kind, part.alias or "": writer.value(part.annotation, 2, f"Filter.{part.alias}")}


def _rewrite(writer: Writer) -> Document:
    return writer.some({"hostname": writer.of(values.HOST_NAMES), "path": writer.object(routes.PathRewrite)})


def _path_rewrite(writer: Writer) -> Document:
    name = writer.pick("replaceFullPath", "replaceFullPath", "replacePrefixMatch")
    return {"type": f"R{name[1:]}", name: writer.of(values.PATHS)}


def _path_match(writer: Writer) -> Document:
    kind = writer.pick("PathPrefix", "PathPrefix", "Exact", "RegularExpression")
    return {"type": kind, "value": writer.of(values.PATTERNS if kind == "RegularExpression" else values.PATHS)}


def _query_match(writer: Writer) -> Document:
    kind = writer.pick("Exact", "RegularExpression")
    return {"type": kind, "name": writer.of(values.PARAMETERS), "value": writer.of(values.PATTERNS)}


def _format(writer: Writer) -> Document:
    kind = writer.pick("Plain", "Json")
    fields = [{"key": writer.of(values.JSON_KEYS), "value": writer.of(values.FORMATS)} for _ in range(writer.a(2) + 1)]
    part = {"plain": writer.of(values.FORMATS)} if kind == "Plain" else {"json": fields}
    return {"type": kind, **part, **writer.some({"omitEmptyValues": writer.coin(5)})}


def _log_backend(writer: Writer) -> Document:
    kind = writer.pick("File", "Tcp", "OpenTelemetry")
    name, model = {"File": ("file", logs.File), "Tcp": ("tcp", logs.Tcp), "OpenTelemetry": ("openTelemetry", None)}[
        kind
    ]
    return {"type": kind, name: _collector(writer) if model is None else writer.object(model)}


def _collector(writer: Writer) -> Document:
    where = {"endpoint": writer.of(values.ADDRESSES)}
    if writer.a(9) == 0:
        where = {"backendRef": {"kind": "MeshOpenTelemetryBackend", "labels": {"a": "b"}}}
    attributes = [writer.object(logs.Attribute) for _ in range(writer.a(2))]
    return {**where, **writer.some({"attributes": attributes, "body": writer.of(values.BODIES)})}


def _hash_policy(writer: Writer) -> Document:
    kind, name = writer.pick(*values.HASHES)
    field = next(one for one in balancing.HashPolicy.model_fields.values() if one.alias == name)
    part = {name: writer.value(field.annotation, 2, f"HashPolicy.{name}")}
    return {"type": kind, **part, **writer.some({"terminal": writer.coin(5)})}


def _balancer(writer: Writer) -> Document:
    fields = balancing.LoadBalancer.model_fields
    kind = writer.pick(*fields["type"].annotation.__args__)  # type: ignore[union-attr]
    wanted = f"{kind[0].lower()}{kind[1:]}"
    parts = {
        one.alias or "": writer.value(one.annotation, 2, f"LoadBalancer.{one.alias}")
        for name, one in fields.items()
        if name != "type" and (one.alias == wanted or (writer.bold and writer.a(4) == 0))
    }
    return {"type": kind, **parts}


def _to_zones(writer: Writer) -> Document:
    kind = writer.pick("None", "Only", "Any", "AnyExcept")
    zones = {"zones": [writer.of(values.ZONES)]} if kind in {"Only", "AnyExcept"} else {}
    return {"type": kind, **zones}


def _host_selection(writer: Writer) -> Document:
    kind = writer.pick("OmitPreviousHosts", "OmitHostsWithTags", "OmitPreviousPriorities")
    frequency = {"updateFrequency": writer.of(values.COUNTS)} if kind == "OmitPreviousPriorities" else {}
    tags = {"tags": {writer.text(): writer.text()}} if kind == "OmitHostsWithTags" else {}
    return {"predicate": kind, **frequency, **tags}


def _modification(writer: Writer) -> Document:
    name, step = writer.pick(*values.PATCHES)
    text = json.dumps(step).replace("UNIQUE", writer.new("patched-"))
    return {name: json.loads(text)}


def _mirror(writer: Writer) -> Document:
    backend = {"kind": "MeshService", "name": writer.pick(*writer.services)}
    return {"backendRef": backend, **writer.some({"percentage": writer.of(values.NUMBERS)})}


_SENSE: Final[Mapping[type[BaseModel], Callable[[Writer], Any]]] = {
    TargetRef: lambda _: {"kind": "Mesh"},
    SpiffeIdMatch: lambda writer: {"type": writer.pick("Exact", "Prefix"), "value": writer.of(values.SPIFFE_IDS)},
    SniMatch: lambda writer: {"type": "Exact", "value": writer.of(values.HOST_NAMES)},
    BackendRef: _backend,
    HeaderMatch: _header_match,
    retries.HeaderMatch: _header_match,
    HeaderKeyValue: lambda writer: {
        "name": writer.of(values.HEADER_NAMES),
        "value": writer.of(values.HEADER_VALUES),
    },
    routes.Filter: _filter,
    routes.UrlRewrite: _rewrite,
    routes.PathMatch: _path_match,
    routes.PathRewrite: _path_rewrite,
    routes.QueryParamMatch: _query_match,
    routes.RequestMirror: _mirror,
    logs.Format: _format,
    logs.Backend: _log_backend,
    balancing.HashPolicy: _hash_policy,
    balancing.LoadBalancer: _balancer,
    balancing.ToZones: _to_zones,
    retries.HostSelection: _host_selection,
    ResponseBandwidth: lambda writer: {
        "limit": writer.of(values.BANDWIDTHS),
        "percentage": writer.of(values.NUMBERS),
    },
    Modification: _modification,
}
"""What a careful user knows of some types."""

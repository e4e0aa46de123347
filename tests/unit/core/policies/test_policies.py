"""What holds for every policy."""

import builtins
import dataclasses
import json
from dataclasses import dataclass, replace
from itertools import count

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from pydantic import ValidationError

from kuma.core.model.kinds import KINDS
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.model.spec import violations
from kuma.core.policies import BY_KIND, POLICIES
from kuma.core.policies._kit.backends import BackendRef
from kuma.core.policies._kit.build import inbound_rules, outbound_parts
from kuma.core.policies._kit.headers import HeaderKeyValue, HeaderMatch
from kuma.core.policies._kit.merge import merge
from kuma.core.policies._kit.rules import Towards
from kuma.core.policies._kit.spec import SniMatch, SpiffeIdMatch, TargetRef
from kuma.core.policies.meshhttproute.spec import Filter, PathMatch, PathRewrite, QueryParamMatch, UrlRewrite
from kuma.core.xds.view import Backend, TlsMode

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "0s", "-1s", "5s", "1.5", "*", "Mesh", "MeshService", "Allow", "503", "spiffe://d/a", "("])
    | st.text(max_size=8)
)


def names_in(model, seen=frozenset()):
    """Every field name a user may write, at any depth."""
    if model in seen:
        return
    for field in model.model_fields.values():
        yield field.alias
        yield from _names_below(field.annotation, seen | {model})


def _names_below(annotation, seen):
    if hasattr(annotation, "model_fields"):
        yield from names_in(annotation, seen)
    for part in getattr(annotation, "__args__", ()):
        yield from _names_below(part, seen)


def documents(policy):
    """JSON whose keys are mostly fields of the policy, in places where they do and do not belong."""
    keys = st.sampled_from(sorted(set(names_in(policy.spec)))) | st.text(max_size=5)
    return st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
        max_leaves=25,
    )


@dataclass
class Writer:
    """A user who knows the schema; a careful one also writes values that make sense."""

    data: st.DataObject
    careful: bool
    _names: count = dataclasses.field(default_factory=count)

    def policy(self, policy):
        written = self.object(policy.spec)
        if self.careful:
            written.pop("targetRef", None)
            for entry in written.get("to", ()) if policy.destinations is not None else ():
                # Routes lead away from services, never from the whole mesh; host names are for gateways.
                entry["targetRef"] = {"kind": "MeshService", "name": "backend"}
                entry.pop("hostnames", None)
            other = {name: entries for name, entries in written.items() if name != "rules"}
            written = {"rules": written["rules"]} if "rules" in written and self.pick(True, False) else other
        return written

    def object(self, model):
        if self.careful and model is TargetRef:
            return {"kind": "Mesh"}
        if self.careful and model is SpiffeIdMatch:
            return {"type": self.pick("Exact", "Prefix"), "value": self.pick("spiffe://default", "spiffe://default/a")}
        if self.careful and model is SniMatch:
            return {"type": "Exact", "value": "backend.mesh"}
        if self.careful and model in self._SENSE:
            return self._SENSE[model](self)
        fields = model.model_fields.values()
        written = {
            field.alias: self.value(field.annotation, _longest(field))
            for field in fields
            if field.is_required() or self.coin()
        }
        if self.careful and written.get("matches") and "http" in _names_below_default(model):
            written["default"] = {"http": {"requestTimeout": "5s"}}
        return written

    def _backend(self):
        tags = {"kind": "MeshServiceSubset", "tags": {"version": self.pick("v1", "v2")}}
        return {**self.pick({"kind": "MeshService"}, tags), "name": self.pick("backend", "other"), "weight": self.a(9)}

    def _header_match(self):
        kind = self.pick("Exact", "Present", "RegularExpression", "Absent", "Prefix")
        value = {} if kind in {"Present", "Absent"} else {"value": "v.*"}
        return {"type": kind, "name": f"x-{next(self._names)}", **value}

    def _filter(self):
        kind = self.pick(*Filter.model_fields["type"].annotation.__args__)
        [part] = [one for one in Filter.model_fields.values() if one.alias.lower() == kind.lower()]
        return {"type": kind, part.alias: self.value(part.annotation)}

    def _rewrite(self):
        written = {"hostname": "backend.mesh", "path": self.object(PathRewrite)}
        return {name: value for name, value in written.items() if self.coin()}

    _SENSE = {  # noqa: RUF012 - a table of methods
        BackendRef: _backend,
        HeaderMatch: _header_match,
        HeaderKeyValue: lambda self: {"name": f"x-{next(self._names)}", "value": self.pick("", "v")},
        Filter: _filter,
        UrlRewrite: _rewrite,
        PathMatch: lambda self: {
            "type": self.pick("PathPrefix", "PathPrefix", "Exact", "RegularExpression"),
            "value": self.pick("/", "/a", "/a/b"),
        },
        PathRewrite: lambda self: self.pick(
            {"type": "ReplaceFullPath", "replaceFullPath": "/b"},
            {"type": "ReplaceFullPath", "replaceFullPath": "/c"},
            {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"},
        ),
        QueryParamMatch: lambda self: {
            "type": self.pick("Exact", "RegularExpression"),
            "name": f"q{next(self._names)}",
            "value": self.pick("", "v.*"),
        },
    }

    def value(self, annotation, most=2):
        if hasattr(annotation, "model_fields"):
            return self.object(annotation)
        parts = [part for part in getattr(annotation, "__args__", ()) if part not in (type(None), ...)]
        match getattr(annotation, "__origin__", None):
            case builtins.tuple:
                return [self.value(parts[0]) for _ in range(self.data.draw(st.integers(self.careful, most)))]
            case builtins.dict:
                return self.data.draw(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2))
        if parts:
            return self.pick(*parts) if isinstance(parts[0], str | int) else self.value(parts[0])
        if annotation is bool:
            return self.coin()
        if annotation is int:
            return self.data.draw(st.integers(1, 100) if self.careful else st.integers(-1, 200))
        if annotation is str:
            return "503" if self.careful else self.pick("", "503", "a", "A b", "spiffe://d/a", "1.5", "x(")
        return self.pick("1ms", "5s", "1h30m") if self.careful else self.pick("0s", "-1s", "5s", "soon")

    def a(self, most):
        """A whole number from zero."""
        return self.data.draw(st.integers(0, most))

    def coin(self):
        return self.data.draw(st.integers(0, 9)) < (9 if self.careful else 5)

    def pick(self, *values):
        return self.data.draw(st.sampled_from(values))


def _longest(field):
    """How many items a careful user writes into a list; two, if the schema lets them."""
    return min([2, *(one.max_length for one in field.metadata if hasattr(one, "max_length"))])


def _names_below_default(model):
    return model.model_fields["default"].annotation.model_fields if "default" in model.model_fields else {}


def test_every_registered_policy_is_there_in_the_order_of_the_registry():
    """A policy is its line in the registry and its folder, nothing more."""
    registered = [kind.name for kind in KINDS if kind.policy is not None]

    assert [policy.kind for policy in POLICIES] == registered
    assert {kind: policy.kind for kind, policy in BY_KIND.items()} == {name: name for name in registered}


def test_the_lists_of_a_policy_are_those_the_registry_tells():
    """`to`, `from` and `rules` exist where the registry says so."""
    for kind in KINDS:
        if kind.policy is not None:
            fields = BY_KIND[kind.name].spec.model_fields
            assert ("to" in fields, "from_" in fields, "rules" in fields) == (
                kind.policy.to,
                kind.policy.from_,
                kind.policy.rules,
            )


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
@given(data=st.data())
def test_nothing_a_user_sends_makes_a_policy_fail(policy, data):
    """Arbitrary JSON is parsed or refused with its faults; validating and warning never raise."""
    document = data.draw(documents(policy))
    try:
        spec = policy.spec.model_validate_json(json.dumps(document))
    except ValidationError as error:
        faults = list(violations(error, "spec"))
    else:
        faults = ["none is needed", *policy.validate(spec), *policy.warnings(spec)]

    assert faults


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
@given(data=st.data(), careful=st.booleans())
def test_a_policy_survives_being_stored(policy, data, careful):
    """What is printed is read back as the same spec; every fault has a path and a reason."""
    try:
        spec = policy.spec.model_validate_json(json.dumps(Writer(data, careful).policy(policy)))
    except ValidationError:
        reject()
    printed = spec.to_json()

    assert policy.spec.model_validate_json(json.dumps(printed)) == spec
    for found in policy.validate(spec):
        assert found.field.startswith("spec")
        assert found.reason
    for sentence in policy.warnings(spec):
        assert sentence


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
def test_lists_nobody_wrote_are_not_printed(policy):
    """`kumactl get` shows what the user wrote, without empty lists."""
    assert policy.spec.model_validate_json("{}").to_json() == {}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
@given(data=st.data())
def test_a_valid_policy_can_always_be_applied(policy, drafts, data):
    """What was accepted never fails later, when a proxy's configuration is made from it."""
    spec = policy.spec.model_validate_json(json.dumps(Writer(data, careful=True).policy(policy)))
    assume(not list(policy.validate(spec)))
    resource = Resource(Meta(Key(policy.kind, "default", "mine")), spec)
    protocol = data.draw(st.sampled_from(["tcp", "kafka", "http", "http2", "grpc"]), label="protocol")
    to, own = drafts.outbound(protocol), drafts.inbound(protocol, TlsMode.PERMISSIVE)
    if policy.inbound is not None:
        policy.inbound(own, inbound_rules(policy, [resource]))
    if policy.outbound is not None:
        merged = merge(policy.conf, outbound_parts([resource], "backend"), policy.combine)
        if policy.destinations is not None and merged is not None:
            wanted = sorted(set(policy.destinations(merged.conf)))
            to.view = replace(to.view, backends=tuple(Backend(tags, protocol, tls=False) for tags in wanted))
        policy.outbound(to, Towards({} if merged is None else {"backend": merged}, spoken=True))
    if policy.every_cluster is not None:
        policy.every_cluster(own.local)

    for message in (own.listener, own.local.cluster, to.listener, to.clusters[0].cluster):
        assert message.SerializeToString(deterministic=True)

"""What holds for every policy."""

import json
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from pydantic import ValidationError

from kuma.core.model.kinds import KINDS
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.model.spec import violations
from kuma.core.policies import BY_KIND, POLICIES
from kuma.core.policies._kit.build import inbound_rules, outbound_parts
from kuma.core.policies._kit.merge import merge
from kuma.core.policies._kit.rules import Towards
from kuma.core.xds.complete import Originated, Resources
from kuma.core.xds.localities import Located, Place
from kuma.core.xds.view import Backend, TlsMode
from tests.policies.writer import Writer, legal

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


_between = cache(st.integers)


def deciding(data):
    """How a writer of policies makes decisions in a property test."""
    return lambda least, most: data.draw(_between(least, most))


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
        spec = policy.spec.model_validate_json(json.dumps(Writer(deciding(data), careful).policy(policy)))
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


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
@given(data=st.data())
def test_a_valid_policy_can_always_be_applied(policy, drafts, data):
    """What was accepted never fails later, when a proxy's configuration is made from it."""
    bold = data.draw(st.integers(0, 4), label="bold")
    written = legal(policy, Writer(deciding(data), careful=True, bold=bold).policy(policy))
    assume(written is not None)
    spec = policy.spec.model_validate_json(json.dumps(written))
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
        if policy.nearness is not None and merged is not None:
            near = policy.nearness(merged.conf, Place("z1", {"version": ["v1"]}))
            near.grouped([Located("a", "z1", {"version": "v1"}), Located("b", "z2", {})])
    if policy.every_cluster is not None:
        policy.every_cluster(own.local)
    if policy.patch is not None:
        clusters = [Originated("outbound", one.cluster) for one in to.clusters]
        policy.patch(spec.default, Resources((*clusters,), (Originated("outbound", to.listener),)))

    for message in (own.listener, own.local.cluster, to.listener, to.clusters[0].cluster):
        assert message.SerializeToString(deterministic=True)

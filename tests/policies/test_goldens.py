"""Every case gives its golden configuration, and Envoy accepts all of it."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
import yaml

from kuma.core.model.spec import Spec
from kuma.core.policies import BY_KIND, POLICIES
from tests.policies.acceptance import refusal
from tests.policies.golden import HERE, LOGS, UPDATE, WORKDIR, as_yaml, cases, resource_of

CASES = cases()
NOT_SERVED = "speaks of kinds that are not served yet (docs/known-limits.md)"
IN_NO_CASE = {
    ("TargetRef", "mesh"): NOT_SERVED,
    ("TargetRef", "namespace"): NOT_SERVED,
    **{("BackendRef", field): NOT_SERVED for field in ("labels", "mesh", "namespace", "port", "section_name")},
    ("BackendRef", "proxy_types"): "refused, because a destination is no proxy",
    ("To", "hostnames"): "refused without a MeshGateway",
    ("UrlRewrite", "host_to_backend_hostname"): "refused without a MeshGateway",
    ("MeshFaultInjection", "to"): "only for a MeshGateway",
    ("MeshRateLimit", "to"): "only for a MeshGateway",
}
"""Fields that no case has, by model and name, and why."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_gives_its_golden_configuration(case):
    """Byte for byte what was reviewed before; ``UPDATE_GOLDENS=1`` rewrites it for a new review."""
    made = as_yaml(case.generate())
    if UPDATE:
        case.golden.write_text(made)

    assert case.golden.exists(), "no golden yet: run once with UPDATE_GOLDENS=1 and review what it wrote"
    assert made == case.golden.read_text()


def test_every_field_of_every_policy_is_in_a_case():
    """A field that nobody looked at in a golden may do nothing, or the wrong thing."""
    written = {
        named
        for case in CASES
        for document in list(yaml.safe_load_all(case.path.read_text()))[1:]
        if document["type"] in BY_KIND
        for named in fields_in(resource_of(document).spec)
    }

    missing = {named for policy in POLICIES for named in fields_of(policy.spec, set())} - written

    assert {(model.__name__, field) for model, field in missing} == IN_NO_CASE.keys()


def fields_of(of: Any, seen: set[type]) -> Iterator[tuple[type[Spec], str]]:
    """Model and field, of a type and all it is made of."""
    if not (isinstance(of, type) and issubclass(of, Spec)):
        for part in get_args(of):
            yield from fields_of(part, seen)
    elif of not in seen:
        seen.add(of)
        for name, field in of.model_fields.items():
            yield of, name
            yield from fields_of(field.annotation, seen)


def fields_in(value: object) -> Iterator[tuple[type[Spec], str]]:
    """Model and field, of what is written."""
    if isinstance(value, Spec):
        for name in value.model_fields_set:
            yield type(value), name
            yield from fields_in(getattr(value, name))
    elif isinstance(value, dict | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from fields_in(part)


def test_every_golden_has_its_case():
    """A golden whose case is gone proves nothing."""
    assert {case.golden for case in CASES} == set(HERE.glob("*/golden/*.yaml"))


def test_envoy_accepts_everything(tmp_path):
    """Every case that the Envoy under test can run: the Kafka filter is not compiled into it."""
    made = [case.generate() for case in CASES if "kafka: true" not in case.path.read_text()]

    assert not refusal(tmp_path, made, moved=(LOGS, WORKDIR))

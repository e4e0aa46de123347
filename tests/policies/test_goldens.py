"""Every case gives its golden configuration, and Envoy accepts all of it."""

import pytest

from tests.policies.acceptance import refusal
from tests.policies.golden import HERE, LOGS, UPDATE, WORKDIR, as_yaml, cases

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_gives_its_golden_configuration(case):
    """Byte for byte what was reviewed before; ``UPDATE_GOLDENS=1`` rewrites it for a new review."""
    made = as_yaml(case.generate())
    if UPDATE:
        case.golden.write_text(made)

    assert case.golden.exists(), "no golden yet: run once with UPDATE_GOLDENS=1 and review what it wrote"
    assert made == case.golden.read_text()


def test_every_golden_has_its_case():
    """A golden whose case is gone proves nothing."""
    assert {case.golden for case in CASES} == set(HERE.glob("*/golden/*.yaml"))


def test_envoy_accepts_everything(tmp_path):
    """Every case that the Envoy under test can run: the Kafka filter is not compiled into it."""
    made = [case.generate() for case in CASES if "kafka: true" not in case.path.read_text()]

    assert not refusal(tmp_path, made, moved=(LOGS, WORKDIR))

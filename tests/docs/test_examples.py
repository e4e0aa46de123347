"""Policies shown on a page may be applied as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from kuma.core.policies import BY_KIND

_PAGE = Path(__file__).parents[2] / "docs" / "policies.md"
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLES = [one for block in _BLOCK.findall(_PAGE.read_text()) for one in yaml.safe_load_all(block)]


@pytest.mark.parametrize("example", EXAMPLES, ids=[one["name"] for one in EXAMPLES])
def test_an_example_is_accepted_without_a_warning(example):
    """Nobody learns a form that is refused or deprecated."""
    policy = BY_KIND[example["type"]]
    spec = policy.spec.model_validate_json(json.dumps(example["spec"]))

    assert list(policy.validate(spec)) == []
    assert list(policy.warnings(spec)) == []

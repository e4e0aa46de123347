import json
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum

import pytest
from pydantic import ValidationError

from kuma.core.model.spec import (
    Duration,
    LegacyDuration,
    LegacySpec,
    Spec,
    field_path,
    unknown_fields,
    violations,
)


class Mode(Enum):
    EXACT = "Exact"
    PREFIX = "Prefix"


class Rule(Spec):
    mode: Mode | None = None
    num_retries: int | None = None
    timeout: Duration | None = None
    names: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None


class Policy(Spec):
    rules: tuple[Rule, ...]
    by_name: Mapping[str, Rule] | None = None


class Flat(LegacySpec):
    service_port: int = 0
    wait: LegacyDuration | None = None
    inner: "Flat | None" = None


def found(model, document, prefix=""):
    """What is wrong with a document."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate_json(json.dumps(document))
    return {(violation.field, violation.reason) for violation in violations(caught.value, prefix)}


def test_plugin_fields_are_camel_case_and_unset_ones_stay_out():
    """A policy comes back as it was written."""
    spec = Policy.model_validate_json('{"rules": [{"numRetries": 0, "timeout": "90s"}]}')
    assert spec.rules[0].timeout == timedelta(seconds=90)
    assert spec.to_json() == {"rules": [{"numRetries": 0, "timeout": "1m30s", "names": []}]}


def test_legacy_fields_are_read_in_both_spellings_and_null_is_unset():
    """Protobuf's JSON: camelCase or snake_case, null for the default, defaults left out."""
    assert Flat.model_validate({"service_port": "80"}).to_json() == {"servicePort": 80}
    assert Flat.model_validate({"servicePort": 80, "wait": "1h"}).to_json() == {"servicePort": 80, "wait": "3600s"}
    assert Flat.model_validate({"servicePort": None, "wait": None, "inner": {}}).to_json() == {"inner": {}}


def test_specs_are_frozen():
    """Nobody changes a resource that others look at."""
    with pytest.raises(ValidationError):
        Flat().service_port = 1


def test_every_wrong_value_is_reported_with_its_path():
    """A writer learns of all mistakes at once, in the words of Kuma's schema check."""
    document = {
        "rules": [
            {"mode": "exact", "numRetries": "5", "timeout": 5, "names": "a", "labels": []},
            {"timeout": "10x", "labels": {"a": 1}},
            7,
        ]
    }
    assert found(Policy, document, "spec") == {
        ("spec.rules[0].mode", "in body should be one of [Exact Prefix]"),
        ("spec.rules[0].numRetries", "in body must be of type integer"),
        ("spec.rules[0].timeout", "in body must be of type string"),
        ("spec.rules[0].names", "in body must be of type array"),
        ("spec.rules[0].labels", "in body must be of type object"),
        ("spec.rules[1].timeout", 'time: unknown unit "x" in duration "10x"'),
        ("spec.rules[1].labels.a", "in body must be of type string"),
        ("spec.rules[2]", "in body must be of type object"),
    }
    assert found(Policy, {}, "spec") == {("spec.rules", "in body is required")}


@pytest.mark.parametrize(
    "location, path", [((), ""), (("to", 0, "default"), "to[0].default"), ((0, "a"), "[0].a"), (("a", 1, 2), "a[1][2]")]
)
def test_paths_read_as_written(location, path):
    """A position in a document is written as people write it."""
    assert field_path(location) == path


def test_unknown_fields_are_named_and_dropped():
    """A typo does not pass in silence, wherever it is."""
    document = {
        "rule": [],
        "rules": [{"numRetires": 5}, {"labels": {"free": "form"}}],
        "byName": {"a": {"x": 1}},
        "by_name": None,
    }
    spec = Policy.model_validate_json(json.dumps(document))
    assert list(unknown_fields(spec, document)) == ["rule", "rules[0].numRetires", "byName.a.x"]
    assert spec.to_json() == {
        "rules": [{"names": []}, {"names": [], "labels": {"free": "form"}}],
        "byName": {"a": {"names": []}},
    }
    assert list(unknown_fields(spec, "text")) == []

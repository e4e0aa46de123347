"""What holds for every document, not only for those somebody thought of."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kuma.core.model.kinds import KINDS
from kuma.core.model.resource import Key, Meta, Resource, definition
from kuma.core.model.spec import unknown_fields, violations
from tests.unit.core.resources.documents import DATAPLANES, JSON, MESHES, field_names, nearly

PLAIN = [kind.name for kind in KINDS if kind.policy is None]
NEARLY = {kind: nearly(field_names(definition(kind).spec)) for kind in PLAIN}


@pytest.mark.parametrize("kind, documents", [("Mesh", MESHES), ("Dataplane", DATAPLANES)])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_printed_reads_as_the_same(kind, documents, data):
    """A document that is stored and read back means what was written, and prints the same ever after."""
    spec = definition(kind).spec.model_validate(data.draw(documents))

    printed = spec.to_json()
    again = definition(kind).spec.model_validate_json(json.dumps(printed))

    assert again == spec
    assert again.to_json() == printed


@pytest.mark.parametrize("kind", PLAIN)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_input_is_read_or_refused_in_words(kind, data):
    """Whatever a caller sends is accepted, or refused with a list of what is wrong: never a crash."""
    document = data.draw(JSON | NEARLY[kind] | NEARLY[kind].map(lambda inner: {"networking": inner, "mtls": inner}))
    behaviour = definition(kind)
    as_text = data.draw(st.booleans())
    try:
        if as_text:
            spec = behaviour.spec.model_validate_json(json.dumps(document))
        else:
            spec = behaviour.spec.model_validate(document)
    except ValidationError as error:
        reasons = [violation.reason for violation in violations(error)]
    else:
        reasons = []
    assert all(reasons)
    if reasons:
        return

    resource = Resource(Meta(Key(kind, "default", "one")), spec)
    broken = list(behaviour.validate(resource))
    assert all(violation.field and violation.reason for violation in broken)
    assert all(isinstance(warning, str) for warning in behaviour.warnings(resource))
    assert all(isinstance(field, str) for field in unknown_fields(spec, document))
    json.dumps(spec.to_json(), allow_nan=False)
    if not broken:
        complete = behaviour.complete(spec)
        assert behaviour.complete(complete) == complete

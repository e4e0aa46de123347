import json

import pytest

from kuma.core.errors import InvalidResource
from kuma.core.model.codec import decode_json, decode_spec, encode_spec


def test_what_is_stored_reads_as_the_same():
    """A restart of the control plane changes no resource, whatever letters it holds."""
    spec = decode_json("Dataplane", {"networking": {"address": "10.0.0.1", "inbound": [{"name": "käse"}]}})
    text = encode_spec(spec)
    assert "käse".encode() in text
    assert decode_spec("Dataplane", text) == spec


@pytest.mark.parametrize(
    "text, field",
    [
        (b'{"networking": {"inbound": [{"port": "x"}]}}', "networking.inbound[0].port"),
        (b"not json", ""),
        (b'{"networking": {"address": "\\ud800"}}', ""),
        (b'{"networking": {"address": "\xff"}}', ""),
        (b"[" * 10_000, ""),
        (b"", ""),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_place(text, field):
    """Wrong types, broken JSON, lone surrogates and endless nesting are all the caller's fault, never a crash."""
    with pytest.raises(InvalidResource) as caught:
        decode_spec("Dataplane", text)
    assert [violation.field for violation in caught.value.violations] == [field]


def test_nesting_inside_a_free_form_conf_is_refused():
    """A conf that nests without end is refused before it is stored."""
    deep = json.dumps({"a": 1})
    for _ in range(100):
        deep = f'{{"a": {deep}}}'
    with pytest.raises(InvalidResource, match="must not nest deeper than 32 levels"):
        decode_spec("Mesh", f'{{"mtls": {{"backends": [{{"conf": {deep}}}]}}}}'.encode())

import base64

import pytest

from kuma.core.model.resource import definition
from kuma.core.resources.secret.validate import MAX_BYTES
from tests.unit.core.resources.documents import broken_rules, resource

KINDS = ["Secret", "GlobalSecret"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_is_bytes_in_base64(kind):
    """What was written comes back, in the standard alphabet."""
    one = resource(definition(kind), kind, {"data": "dGVzdA=="})
    assert one.spec.data == b"test"
    assert one.spec.to_json() == {"data": "dGVzdA=="}


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_has_a_size_limit(kind):
    """One mebibyte is kept, one byte more is refused."""
    assert broken_rules(definition(kind), kind, {"data": base64.b64encode(b"x" * MAX_BYTES).decode()}) == []
    too_large = base64.b64encode(b"x" * (MAX_BYTES + 1)).decode()
    assert broken_rules(definition(kind), kind, {"data": too_large}) == [
        ("data", "must not be longer than 1048576 bytes when decoded")
    ]


def test_a_secret_is_not_part_of_any_text():
    """A debug line or an error that mentions a resource does not give its secret away."""
    one = resource(definition("Secret"), "Secret", {"data": "dGVzdA=="})
    assert "test" not in repr(one)
    assert "dGVzdA" not in repr(one)

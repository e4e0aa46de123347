"""What lies in Secrets."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.identity import secret_data


@given(st.binary())
def test_every_value_comes_back_as_it_was_put_in(value):
    """No byte is lost in a secret."""
    assert secret_data.decode(secret_data.encode(value)) == value


def test_base64_may_be_broken_into_lines():
    """As `base64` without -w0 writes it, and Go reads it."""
    text = base64.encodebytes(b"x" * 100).decode().replace("\n", "\\n")
    assert secret_data.decode(f'{{"data": "{text}"}}'.encode()) == b"x" * 100


@pytest.mark.parametrize("spec", [b"", b"[]", b'{"data": 1}', b'{"data": "**hunter2**"}', b"[" * 100_000, b"\xff"])
def test_anything_else_is_refused_without_repeating_it(spec):
    """A secret that cannot be read is not shown in the error either."""
    with pytest.raises(ValueError, match=r"secret|base64") as caught:
        secret_data.decode(spec)
    assert "hunter2" not in str(caught.value)


@given(st.binary())
def test_no_content_breaks_the_reader(spec):
    """Whatever is stored, the answer is a value or a ValueError."""
    with contextlib.suppress(ValueError):
        secret_data.decode(spec)

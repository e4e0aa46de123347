"""Large documents are worked on where they hold up nobody."""

import threading

import pytest

from kuma.cp.resources.aside import aside, is_large
from tests.unit.cp.resources.user import dataplane, mesh, timeout


@pytest.mark.parametrize(
    "document, large",
    [
        ({}, False),
        (mesh(), False),
        (timeout(), False),
        (dataplane("web-1", *({"port": port, "tags": {"kuma.io/service": "a"}} for port in range(1, 200))), False),
        (dataplane("web-1", *({"port": port, "tags": {"kuma.io/service": "a"}} for port in range(1, 3000))), True),
        ({"labels": {str(number): "" for number in range(10_000)}}, True),
        ({"a": [[[[[0] * 10_000]]]]}, True),
        ({"data": "x" * 1_000_000}, False),
    ],
)
def test_what_is_large(document, large):
    """By the number of values: long text is checked quickly."""
    assert is_large(document) is large


async def test_only_large_work_leaves_the_event_loop():
    """A thread costs more than a small document."""
    here = threading.get_ident()

    assert await aside(False, threading.get_ident) == here
    assert await aside(True, threading.get_ident) != here


async def test_what_goes_wrong_aside_is_told():
    """As if it had been done here."""
    with pytest.raises(ValueError, match="abc"):
        await aside(True, int, "abc")

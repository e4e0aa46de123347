"""The key-value store's protocol."""

from __future__ import annotations

import pytest

from kuma.demo.apps.kv import Counters


def test_counting():
    """A key begins at nothing and grows by one."""
    counters = Counters()

    assert [counters.reply(line) for line in ("GET visits", "INCR visits\n", "INCR visits", "GET visits", "GET x")] == [
        "0",
        "1",
        "2",
        "2",
        "0",
    ]


@pytest.mark.parametrize("line", ["", "INCR", "SET a 1", "INCR a b", "\x00"])
def test_anything_else_is_an_error(line):
    """The answer says what may be said."""
    assert Counters().reply(line) == "ERR say INCR key or GET key"


def test_keys_are_bounded():
    """A client cannot fill the memory; keys that exist go on counting."""
    counters = Counters()
    for number in range(1000):
        counters.reply(f"INCR {number}")

    assert counters.reply("INCR more").startswith("ERR")
    assert counters.reply("INCR 7") == "2"

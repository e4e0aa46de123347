"""Two demos on one host do not meet."""

from __future__ import annotations

import random
import socket

import pytest

from kuma.demo import ports
from kuma.demo.errors import NoPorts


def test_the_same_chance_twice_gives_different_ports():
    """While one holds its block, the other is given another."""
    with ports.reserved(20, random.Random(7)) as first, ports.reserved(20, random.Random(7)) as second:
        assert len({*first, *second}) == 40


def test_a_port_in_use_is_left_out():
    """Whatever else listens on the host keeps its port."""
    with ports.reserved(1, random.Random(3)) as (port,):
        pass
    with socket.create_server(("127.0.0.1", port)), ports.reserved(5, random.Random(3)) as found:
        assert port not in found


def test_no_block_is_large_enough():
    """The refusal says where it looked and how to find out more."""
    with pytest.raises(NoPorts, match="no 1000 free ports were found between 20000 and 30000"):
        ports.reserved(1000, random.Random(1)).__enter__()

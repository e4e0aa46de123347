"""The addresses of this machine."""

import ipaddress
import socket

from hypothesis import given
from hypothesis import strategies as st

from kuma.cp.certificates.machine import address_in, addresses, host_name, messages


def test_the_machine_knows_its_loopback_addresses_and_its_name():
    """At least those; each once, in a stable order, and all of them addresses."""
    found = addresses()
    assert {"127.0.0.1", "::1"} <= set(found)
    assert len(set(found)) == len(found)
    assert addresses() == found
    assert all(ipaddress.ip_address(one) for one in found)
    assert host_name() == socket.gethostname()


def test_an_address_of_the_machine_can_be_bound():
    """What goes into the certificate is really here."""
    for address in addresses():
        if ":" not in address:
            with socket.socket(socket.AF_INET) as probe:
                probe.bind((address, 0))


@given(st.binary(max_size=200))
def test_whatever_the_kernel_says_is_split_without_end(data):
    """Broken lengths end the list."""
    for _, body in messages(data):
        if len(body) >= 8:
            address_in(body)

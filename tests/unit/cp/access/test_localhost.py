"""Localhost is admin: every rule has a row that fails if the rule is dropped."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.cp.access.localhost import RequestFacts, localhost_user

HOST = ("Host", "localhost:5681")


def _facts(peer="127.0.0.1", *headers, target="/meshes", scheme="http"):
    return RequestFacts(peer, headers or (HOST,), target, scheme)


@pytest.mark.parametrize(
    "request_facts",
    [
        pytest.param(_facts(), id="plain"),
        pytest.param(_facts("127.8.9.10"), id="any 127/8 peer"),
        pytest.param(_facts("::1"), id="IPv6 peer"),
        pytest.param(_facts("0:0:0:0:0:0:0:1"), id="IPv6 peer in full"),
        pytest.param(_facts("::ffff:127.0.0.1"), id="IPv4-mapped peer"),
        pytest.param(_facts("localhost"), id="peer by name"),
        pytest.param(_facts("127.0.0.1", ("host", "LocalHost")), id="Host without port, any case"),
        pytest.param(_facts("127.0.0.1", ("host", "localhost.:5681")), id="Host with trailing dot"),
        pytest.param(_facts("127.0.0.1", ("host", "127.0.0.1:5681")), id="Host IPv4"),
        pytest.param(_facts("127.0.0.1", ("host", "[::1]:5681")), id="Host IPv6"),
        pytest.param(_facts("127.0.0.1", ("host", "[::ffff:127.0.0.1]")), id="Host IPv4-mapped"),
        pytest.param(_facts(target="http://localhost:5681/meshes"), id="absolute form of the same"),
        pytest.param(_facts(target="HTTP://LOCALHOST.:5681"), id="absolute form, no path, other spelling"),
        pytest.param(_facts("127.0.0.1", ("host", "localhost"), target="http://localhost:80/"), id="default port"),
        pytest.param(_facts(target="*"), id="asterisk form"),
        pytest.param(_facts("127.0.0.1", HOST, ("Sec-Fetch-Site", "same-origin")), id="own page"),
        pytest.param(_facts("127.0.0.1", HOST, ("Sec-Fetch-Site", "none")), id="typed into the browser"),
        pytest.param(_facts("127.0.0.1", HOST, ("Origin", "http://localhost:5681")), id="own origin"),
        pytest.param(_facts("127.0.0.1", HOST, ("Origin", "https://LOCALHOST.:5681")), id="own origin, other spelling"),
        pytest.param(_facts("127.0.0.1", ("host", "localhost:80"), ("Origin", "http://localhost")), id="port 80"),
        pytest.param(
            _facts("127.0.0.1", ("host", "localhost"), ("Origin", "https://localhost:443"), scheme="https"),
            id="port 443",
        ),
        pytest.param(
            _facts("::1", ("host", "[::1]:5681"), ("Origin", "http://[0:0:0:0:0:0:0:1]:5681")), id="IPv6 origin"
        ),
        pytest.param(
            _facts("::1", ("host", "127.0.0.1:5681"), ("Origin", "http://[::ffff:7f00:1]:5681")), id="mapped origin"
        ),
        pytest.param(_facts("127.0.0.1", HOST, ("Authorization", "Bearer bad")), id="a bad token does not matter"),
    ],
)
def test_a_direct_local_caller_is_the_administrator(request_facts):
    """However the loopback address is written."""
    assert localhost_user(request_facts)


@pytest.mark.parametrize(
    "request_facts",
    [
        pytest.param(_facts("10.0.0.1"), id="remote peer"),
        pytest.param(_facts("172.17.0.1"), id="container bridge"),
        pytest.param(_facts("::ffff:10.0.0.1"), id="mapped remote peer"),
        pytest.param(_facts("::127.0.0.1"), id="IPv4-compatible is not loopback"),
        pytest.param(_facts("fe80::1"), id="link-local peer"),
        pytest.param(_facts("0.0.0.0"), id="unspecified peer"),
        pytest.param(_facts(""), id="unknown peer"),
        pytest.param(_facts("localhost.evil.example"), id="peer by another name"),
        pytest.param(_facts("127.0.0.1", HOST, ("Forwarded", "for=10.0.0.1")), id="Forwarded"),
        pytest.param(_facts("127.0.0.1", HOST, ("x-forwarded-for", "127.0.0.1")), id="X-Forwarded-For"),
        pytest.param(_facts("127.0.0.1", HOST, ("X-Forwarded-For", "")), id="empty X-Forwarded-For"),
        pytest.param(_facts("127.0.0.1", HOST, ("X-REAL-IP", "127.0.0.1")), id="X-Real-IP"),
        pytest.param(_facts("127.0.0.1", HOST, ("X-Forwarded-Proto", "https")), id="other forwarding headers"),
        pytest.param(_facts("127.0.0.1", HOST, ("Via", "1.1 proxy")), id="Via"),
        pytest.param(_facts("127.0.0.1", ("accept", "*/*")), id="no Host"),
        pytest.param(_facts("127.0.0.1", ("host", "")), id="empty Host"),
        pytest.param(_facts("127.0.0.1", ("host", "evil.example:5681")), id="rebound name"),
        pytest.param(_facts("127.0.0.1", ("host", "localhost.evil.example")), id="localhost as a label"),
        pytest.param(_facts("127.0.0.1", ("host", "evil.localhost")), id="below localhost"),
        pytest.param(_facts("127.0.0.1", ("host", "localhost..")), id="two dots"),
        pytest.param(_facts("127.0.0.1", ("host", "10.0.0.1")), id="Host remote address"),
        pytest.param(_facts("127.0.0.1", ("host", "0.0.0.0")), id="Host unspecified"),
        pytest.param(_facts("127.0.0.1", ("host", "127.1")), id="short form"),
        pytest.param(_facts("127.0.0.1", ("host", "2130706433")), id="decimal form"),
        pytest.param(_facts("127.0.0.1", ("host", "0x7f000001")), id="hexadecimal form"),
        pytest.param(_facts("127.0.0.1", ("host", "127.0.0.01")), id="octal form"),
        pytest.param(_facts("127.0.0.1", ("host", "[127.0.0.1]")), id="IPv4 in brackets"),
        pytest.param(_facts("127.0.0.1", ("host", "::1")), id="IPv6 without brackets"),
        pytest.param(_facts("127.0.0.1", ("host", "[::1%lo]")), id="IPv6 with zone"),
        pytest.param(_facts("127.0.0.1", ("host", "user@localhost")), id="user info"),
        pytest.param(_facts("127.0.0.1", ("host", "localhost:")), id="empty port"),
        pytest.param(_facts("127.0.0.1", ("host", "localhost:0")), id="port 0"),
        pytest.param(_facts("127.0.0.1", ("host", "localhost:65536")), id="port too great"),
        pytest.param(_facts("127.0.0.1", ("host", "localhost, evil.example")), id="two hosts in one header"),
        pytest.param(_facts("127.0.0.1", ("host", "localhost\n")), id="line end"),
        pytest.param(_facts("127.0.0.1", ("host", "loca\u017fhost")), id="letters that fold"),
        pytest.param(_facts("127.0.0.1", HOST, ("host", "evil.example")), id="second Host"),
        pytest.param(_facts("127.0.0.1", HOST, HOST), id="Host twice"),
        pytest.param(_facts(target="http://evil.example/meshes"), id="absolute form of another"),
        pytest.param(_facts(target="http://localhost:9999/"), id="absolute form, other port"),
        pytest.param(_facts(target="http://user@localhost:5681/"), id="absolute form with user info"),
        pytest.param(_facts("127.0.0.1", ("host", "evil.example"), target="http://localhost/"), id="Host disagrees"),
        pytest.param(_facts(target="ftp://localhost:5681/"), id="other scheme"),
        pytest.param(_facts(target="localhost:5681"), id="authority form (CONNECT)"),
        pytest.param(_facts(target=""), id="no target"),
        pytest.param(_facts("127.0.0.1", HOST, ("Sec-Fetch-Site", "cross-site")), id="other site"),
        pytest.param(_facts("127.0.0.1", HOST, ("Sec-Fetch-Site", "same-site")), id="same site, other origin"),
        pytest.param(_facts("127.0.0.1", HOST, ("Sec-Fetch-Site", "")), id="empty Sec-Fetch-Site"),
        pytest.param(_facts("127.0.0.1", HOST, ("Sec-Fetch-Site", "none, cross-site")), id="joined Sec-Fetch-Site"),
        pytest.param(
            _facts("127.0.0.1", HOST, ("Sec-Fetch-Site", "none"), ("sec-fetch-site", "cross-site")),
            id="repeated Sec-Fetch-Site",
        ),
        pytest.param(_facts("127.0.0.1", HOST, ("Origin", "http://evil.example")), id="other origin"),
        pytest.param(_facts("127.0.0.1", HOST, ("Origin", "null")), id="opaque origin"),
        pytest.param(_facts("127.0.0.1", HOST, ("Origin", "")), id="empty origin"),
        pytest.param(_facts("127.0.0.1", HOST, ("Origin", "http://localhost:8080")), id="origin with other port"),
        pytest.param(_facts("127.0.0.1", HOST, ("Origin", "http://localhost")), id="origin with default port"),
        pytest.param(_facts("127.0.0.1", HOST, ("Origin", "http://127.0.0.1:5681")), id="origin by other name"),
        pytest.param(_facts("127.0.0.1", HOST, ("Origin", "ws://localhost:5681")), id="origin of other scheme"),
        pytest.param(_facts("127.0.0.1", HOST, ("Origin", "http://localhost:5681/")), id="origin with path"),
        pytest.param(
            _facts("127.0.0.1", HOST, ("Origin", "http://localhost:5681"), ("Origin", "http://evil.example")),
            id="second origin",
        ),
        pytest.param(
            _facts("127.0.0.1", ("host", "localhost"), ("Origin", "https://localhost")), id="https origin, http host"
        ),
    ],
)
def test_anyone_else_is_not(request_facts):
    """Each row breaks exactly one rule."""
    assert not localhost_user(request_facts)


@given(
    st.text(),
    st.lists(st.tuples(st.sampled_from(["host", "origin", "sec-fetch-site", "forwarded"]) | st.text(), st.text())),
    st.text(),
    st.text(),
)
def test_no_request_breaks_the_decision(peer, headers, target, scheme):
    """Whatever was received, the answer is yes or no."""
    assert localhost_user(RequestFacts(peer, headers, target, scheme)) in {True, False}


@given(st.ip_addresses())
def test_only_loopback_addresses_count(address):
    """For the peer as for the Host."""
    mapped = getattr(address, "ipv4_mapped", None) or address
    written = f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)
    assert localhost_user(_facts(str(address))) == mapped.is_loopback
    assert localhost_user(_facts("127.0.0.1", ("host", written))) == mapped.is_loopback


@given(st.from_regex(r"[a-z0-9.:\[\]@-]{1,30}", fullmatch=True).filter(lambda host: "localhost" not in host))
def test_no_other_host_text_is_taken_for_local(host):
    """A Host that is not a loopback address in its one plain form is somebody else's name."""
    plain = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    try:
        local = ipaddress.ip_address(plain.strip("[]").removesuffix(".")).is_loopback
    except ValueError:
        local = False
    if not local and "ffff" not in host:
        assert not localhost_user(_facts("127.0.0.1", ("host", host)))

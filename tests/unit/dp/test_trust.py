from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.dp.errors import ControlPlaneUnverified
from kuma.dp.http import HttpError
from kuma.dp.settings import ControlPlaneAddress
from kuma.dp.trust import establish, given_ca
from tests.unit.dp.control_plane import AUTHORITY, OTHER_AUTHORITY, ControlPlane, fingerprint, finished, pem


def _address(control_plane, scheme="https"):
    return ControlPlaneAddress(scheme, "localhost", control_plane.port, "")


async def test_a_fingerprint_becomes_the_ca_that_has_it():
    """The certificate the server shows is trusted because of its hash, and goes to Envoy."""
    with ControlPlane() as control_plane:
        trust = await establish(_address(control_plane), "", fingerprint(), skip_verify=False)

    assert trust.ca.strip() == pem().strip()
    assert trust.tls is not None
    assert trust.tls.verify_mode is ssl.CERT_REQUIRED
    assert trust.tls.check_hostname


async def test_a_control_plane_that_does_not_show_the_ca_is_refused():
    """Another control plane, or someone in between with a CA of their own."""
    with ControlPlane(authority=OTHER_AUTHORITY) as attacker:
        with pytest.raises(ControlPlaneUnverified, match="does not show the CA"):
            await establish(_address(attacker), "", fingerprint(), skip_verify=False)

        assert attacker.bytes_received == 0


async def test_the_given_ca_wins_over_the_fingerprint():
    """Whoever gives a file means it; nothing is connected to decide this."""
    nowhere = ControlPlaneAddress("https", "localhost", 1, "")

    trust = await establish(nowhere, pem(), fingerprint(OTHER_AUTHORITY), skip_verify=False)

    assert trust.ca == pem()


async def test_without_both_the_system_decides():
    """Then the control plane says what Envoy shall trust."""
    trust = await establish(ControlPlaneAddress("https", "localhost", 1, ""), "", "", skip_verify=False)

    assert trust.ca == ""
    assert trust.tls is not None
    assert trust.tls.verify_mode is ssl.CERT_REQUIRED


async def test_plain_http_is_refused():
    """The token would travel in the clear."""
    plain = ControlPlaneAddress("http", "localhost", 1, "")

    with pytest.raises(ControlPlaneUnverified, match="plain HTTP"):
        await establish(plain, pem(), "", skip_verify=False)

    assert (await establish(plain, "", "", skip_verify=True)).tls is None


async def test_unreachable_is_not_unverified():
    """A control plane that is not up yet is worth another try."""
    with pytest.raises(HttpError):
        await establish(ControlPlaneAddress("https", "localhost", 1, ""), "", fingerprint(), skip_verify=False)


async def test_a_port_without_tls_is_told():
    """Someone gave the wrong port."""

    async def greet(_, writer):
        writer.write(b"220 mail\r\n")
        await finished(writer)

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(HttpError, match="TLS"):
            await establish(ControlPlaneAddress("https", "127.0.0.1", port, ""), "", fingerprint(), skip_verify=False)


def test_ca_files_are_checked_before_anything_is_connected(tmp_path: Path):
    """A wrong file is an error of the start, not of the connection."""
    file = tmp_path / "ca.pem"
    for content in (b"", b"nonsense", b"\xff", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"):
        file.write_bytes(content)
        with pytest.raises(ConfigInvalid, match=r"ca\.pem"):
            given_ca("", str(file))
    with pytest.raises(ConfigInvalid, match="No such file"):
        given_ca("", str(tmp_path / "missing"))
    AUTHORITY.cert_pem.write_to_path(str(file))

    assert given_ca("", str(file)) == pem()
    assert given_ca(pem(OTHER_AUTHORITY), str(file)) == pem(OTHER_AUTHORITY)
    assert given_ca("", "") == ""

"""Certificates of an operator, as files that are replaced the way people and tools replace them."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from pathlib import Path

import trustme

from tests.e2e.harness.api import Answer


class Company:
    """A CA, and the pair of files it keeps for the control plane."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self.ca = folder / "company.crt"
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"
        self._authority.cert_pem.write_to_path(self.ca)
        self.issue("first")

    def issue(self, name: str) -> None:
        """A new pair in the files, the certificate first and its key a moment later, each whole at once."""
        self.write(*self.made(name))

    def made(self, name: str) -> tuple[bytes, bytes]:
        """A certificate with its CA, and its key."""
        pair = self._authority.issue_cert("localhost", "127.0.0.1", common_name=name)
        chain = pair.cert_chain_pems[0].bytes() + self._authority.cert_pem.bytes()
        return chain, pair.private_key_pem.bytes()

    def write(self, chain: bytes, key: bytes) -> None:
        """Put these into the files."""
        for path, content in ((self.cert, chain), (self.key, key)):
            fresh = path.with_suffix(".new")
            fresh.touch(0o600)
            fresh.write_bytes(content)
            fresh.replace(path)

    def client(self, folder: Path, name: str) -> tuple[Path, Path]:
        """A certificate and its key for a person."""
        pair = self._authority.issue_cert(f"{name}@example.test", common_name=name)
        cert, key = folder / f"{name}.crt", folder / f"{name}.key"
        for path, content in ((cert, pair.cert_chain_pems[0].bytes()), (key, pair.private_key_pem.bytes())):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(content)
        return cert, key

    def trusting(self) -> ssl.SSLContext:
        """TLS of a client that trusts the company."""
        return ssl.create_default_context(cafile=str(self.ca))

    def shown(self, port: int) -> str:
        """Whose certificate a port shows."""
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            self.trusting().wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            found = connection.getpeercert()
        assert found
        return str(dict(one[0] for one in found["subject"])["commonName"])  # type: ignore[misc] # the shape of OpenSSL


def https(port: int, tls: ssl.SSLContext, path: str, method: str = "GET", body: bytes | None = None) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=tls)
    try:
        connection.request(method, path, body, headers={"accept": "application/json"})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()

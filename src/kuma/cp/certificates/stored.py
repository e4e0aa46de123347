"""Authorities of the control plane itself, each one GlobalSecret.

It holds a certificate and its key, PEM, one after the other. ``kuma-cp-ca`` signs the certificates of the control
plane's servers, ``envoy-admin-ca`` those for the admin ports of proxies.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from typing import Final

from kuma.core.errors import Conflict, InvalidResource, Violation
from kuma.core.identity import secret_data
from kuma.core.model.resource import Key
from kuma.cp.ca.authority import ROOT_LIFETIME, CertificateAuthority, Pair, load_authority, new_root
from kuma.cp.store.port import CONTROL_PLANE, Put, Record, Store

CONTROL_PLANE_CA: Final = "kuma-cp-ca"
ENVOY_ADMIN_CA: Final = "envoy-admin-ca"
_BLOCK: Final = re.compile(rb"-----BEGIN (?P<label>[A-Z ]+)-----.+?-----END (?P=label)-----\n?", re.DOTALL)


def new_stored_authority(name: str, *, now: datetime) -> Put:
    """The write that creates such an authority; made only if there is none yet."""
    root = new_root(common_name=name, unit="Control Plane", uri="", lifetime=ROOT_LIFETIME, now=now)
    return Put(_key(name), secret_data.encode(root.certificate + root.key), expected_version=0)


async def ensure_stored_authority(store: Store, name: str, *, now: datetime) -> CertificateAuthority:
    """
    The authority of this name, created if absent. Replicas that start together end with the same one.

    Raises:
        InvalidResource: the secret is there and holds something else; it is not replaced, since tokens name it.
    """
    record = await store.find(_key(name))
    if record is None:
        with suppress(Conflict):  # another replica was first: its authority is the one
            await store.write([new_stored_authority(name, now=now)], author=CONTROL_PLANE, now=now)
        record = await store.get(_key(name))
    return _load(record)


def _key(name: str) -> Key:
    return Key("GlobalSecret", "", name)


def read_stored_authority(name: str, value: bytes) -> CertificateAuthority:
    """
    The authority in the value of such a secret.

    Raises:
        ValueError: it is no certificate with its key; the text never quotes it.
    """
    blocks: dict[bool, bytes] = {True: b"", False: b""}
    for match in _BLOCK.finditer(value):
        blocks[match["label"].endswith(b"PRIVATE KEY")] += match[0]
    return load_authority(Pair(certificate=blocks[False], key=blocks[True]), name)


def _load(record: Record) -> CertificateAuthority:
    try:
        return read_stored_authority(record.key.name, secret_data.decode(record.spec))
    except ValueError as error:
        reason = f'GlobalSecret "{record.key.name}" holds no certificate with its key: {error}; restore or delete it'
        raise InvalidResource([Violation("data", reason)]) from error

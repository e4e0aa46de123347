"""What the three kinds of token say, as they stand in the JWT (spec/auth.md §3).

Names of claims are Kuma's, capitals included, and every claim is always written. Reading is strict about types and
refuses a token of another kind: keys given for offline use may be shared between kinds, a token must not be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from kuma.core.errors import InvalidToken

CA_FINGERPRINT_CLAIM: Final = "CaFingerprint"
"""Ours: ``sha256:<hex>`` of the control plane's CA, by which a data plane trusts it without a CA file."""

CLOCK_SKEW: Final = timedelta(seconds=5)
"""A token is valid from this long before it was issued, for verifiers whose clock is behind."""

NO_TAGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class UserClaims:
    """A person or program that calls the API."""

    name: str
    groups: tuple[str, ...] = ()

    def payload(self) -> dict[str, Any]:
        return {"Name": self.name, "Groups": list(self.groups) or None}

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> UserClaims:
        _refuse_other_kinds(payload, "a user", ("Mesh", "Tags", "Zone", "Scope"))
        name = _text(payload, "Name")
        if not name:
            raise InvalidToken('could not parse token: claim "Name" is empty')
        return cls(name, _texts(payload.get("Groups"), "Groups"))


@dataclass(frozen=True, slots=True)
class DataplaneClaims:
    """What a data plane proxy may be. Empty means "any"."""

    name: str = ""
    mesh: str = ""
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NO_TAGS)
    type: str = ""
    workload: str = ""
    ca_fingerprint: str = ""

    def payload(self) -> dict[str, Any]:
        tags = {tag: list(values) for tag, values in self.tags.items()}
        claims = {"Name": self.name, "Mesh": self.mesh, "Tags": tags, "Type": self.type, "Workload": self.workload}
        return claims | _fingerprint(self.ca_fingerprint)

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> DataplaneClaims:
        _refuse_other_kinds(payload, "a data plane proxy", ("Groups", "Zone", "Scope"))
        tags = payload.get("Tags")
        if not isinstance(tags, dict | None):
            raise InvalidToken('could not parse token: claim "Tags" has to be an object')
        return cls(
            name=_text(payload, "Name"),
            mesh=_text(payload, "Mesh"),
            tags=MappingProxyType({tag: _texts(values, "Tags") for tag, values in (tags or {}).items()}),
            type=_text(payload, "Type"),
            workload=_text(payload, "Workload"),
            ca_fingerprint=_text(payload, CA_FINGERPRINT_CLAIM),
        )


ZONE_SCOPES: Final = ("ingress", "egress")
"""What a zone token may be for."""


@dataclass(frozen=True, slots=True)
class ZoneClaims:
    """Which zone proxies may join. An empty zone means "any"."""

    zone: str = ""
    scope: tuple[str, ...] = ()
    ca_fingerprint: str = ""

    def payload(self) -> dict[str, Any]:
        return {"Zone": self.zone, "Scope": list(self.scope)} | _fingerprint(self.ca_fingerprint)

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> ZoneClaims:
        _refuse_other_kinds(payload, "a zone", ("Groups", "Mesh", "Tags"))
        fingerprint = _text(payload, CA_FINGERPRINT_CLAIM)
        return cls(_text(payload, "Zone"), _texts(payload.get("Scope"), "Scope"), fingerprint)


def registered(*, now: datetime, valid_for: timedelta, jti: str) -> dict[str, Any]:
    """The claims every kind has: who it is (for revocation) and when it holds, in whole seconds."""
    start = int((now - CLOCK_SKEW).timestamp())
    return {"jti": jti, "iat": start, "nbf": start, "exp": int((now + valid_for).timestamp())}


def _fingerprint(value: str) -> dict[str, Any]:
    return {CA_FINGERPRINT_CLAIM: value} if value else {}


def _text(payload: Mapping[str, Any], claim: str) -> str:
    value = payload.get(claim)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidToken(f'could not parse token: claim "{claim}" has to be a string')
    return value


def _texts(value: object, claim: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidToken(f'could not parse token: claim "{claim}" has to hold lists of strings')
    return tuple(value)


def _refuse_other_kinds(payload: Mapping[str, Any], kind: str, foreign: tuple[str, ...]) -> None:
    for claim in foreign:
        if claim in payload:
            raise InvalidToken(f'could not parse token: not a token of {kind}, it has the claim "{claim}"')

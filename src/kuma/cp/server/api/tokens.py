"""Issuing tokens over the API (spec/auth.md §7).

No token is handed out before its entry in the change log is on the disk. Names of fields are read as Kuma reads them,
without regard to case, and none is dropped: a limit that is spelt wrong must not become "anything".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

from pydantic import Field, ValidationError
from starlette.responses import Response

from kuma.core.errors import BadRequest, InvalidResource, Violation
from kuma.core.identity.claims import ZONE_SCOPES, DataplaneClaims, UserClaims, ZoneClaims
from kuma.core.model.spec import LegacySpec, unknown_fields, violations
from kuma.core.model.text import Limits
from kuma.core.units import parse_duration
from kuma.cp.server.api.call import Call, text_reply
from kuma.cp.server.api.ports import Backends
from kuma.cp.server.api.routing import JSON, TEXT, Route
from kuma.cp.tokens.issuance import issuance
from kuma.cp.tokens.issuer import DEFAULT_VALIDITY
from kuma.cp.tokens.kinds import TokenKind

ISSUE: Final = "Could not issue a token"
INVALID: Final = "Invalid request"
_PROXY_TYPES: Final = ("dataplane", "ingress", "egress")
_PRODUCES: Final = (TEXT, JSON)  # the answer is text; clients that ask for JSON were always served

R = TypeVar("R", bound=LegacySpec)


class DataplaneTokenRequest(LegacySpec):
    """Body of ``POST /tokens/dataplane``."""

    name: str = ""
    mesh: str = ""
    tags: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    type: str = ""
    workload: str = ""
    valid_for: str = ""


class ZoneTokenRequest(LegacySpec):
    """Body of ``POST /tokens/zone``."""

    zone: str = ""
    scope: tuple[str, ...] | None = None
    valid_for: str = ""


class UserTokenRequest(LegacySpec):
    """Body of ``POST /tokens/user``."""

    name: str = ""
    groups: tuple[str, ...] = ()
    valid_for: str = ""


class TokenRoutes:
    """See the module. The user token's path knows no base path."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    def routes(self) -> Iterator[Route]:
        yield Route("POST", "/tokens/dataplane", self._dataplane, ISSUE, _PRODUCES)
        yield Route("POST", "/tokens/zone", self._zone, ISSUE, _PRODUCES)

    def root_routes(self) -> Iterator[Route]:
        """What stands at the root whatever the base path is."""
        yield Route("POST", "/tokens/user", self._user, ISSUE, _PRODUCES)

    async def _dataplane(self, call: Call) -> Response:
        request = await self._request(call, DataplaneTokenRequest)
        valid_for, faults = _validity(request.valid_for, DEFAULT_VALIDITY)
        if not request.mesh:
            faults.insert(0, Violation("mesh", "cannot be empty"))
        if request.type and request.type not in _PROXY_TYPES:
            faults.append(Violation("type", f"must be one of {', '.join(_PROXY_TYPES)}"))
        if "" in request.tags:
            faults.append(Violation("tags", "the name of a tag cannot be empty"))
        _refuse(faults)
        self._backends.access.check_generate_dataplane_token(call.user)
        claims = DataplaneClaims(
            name=request.name,
            mesh=request.mesh,
            tags=request.tags,
            type=request.type,
            workload=request.workload,
            ca_fingerprint=self._backends.ca_fingerprint(),
        )
        with _issuing():
            token = await self._backends.issuer.issue_dataplane_token(
                claims, valid_for=valid_for, now=self._backends.now()
            )
        return await self._handed_out(call, TokenKind.DATAPLANE, token)

    async def _zone(self, call: Call) -> Response:
        request = await self._request(call, ZoneTokenRequest)
        self._backends.access.check_generate_zone_token(call.user, request.zone or self._backends.zone)
        valid_for, faults = _validity(request.valid_for, DEFAULT_VALIDITY)
        if request.scope is None:
            faults.insert(0, Violation("scope", "cannot be empty"))
        for index, one in enumerate(request.scope or ()):
            if one not in ZONE_SCOPES:
                faults.append(Violation(f"scope[{index}]", f"must be one of {', '.join(ZONE_SCOPES)}"))
        _refuse(faults)
        claims = ZoneClaims(request.zone or self._backends.zone, request.scope or (), self._backends.ca_fingerprint())
        with _issuing():
            token = await self._backends.issuer.issue_zone_token(claims, valid_for=valid_for, now=self._backends.now())
        return await self._handed_out(call, TokenKind.ZONE, token)

    async def _user(self, call: Call) -> Response:
        self._backends.access.check_generate_user_token(call.user)
        request = await self._request(call, UserTokenRequest)
        valid_for, faults = _validity(request.valid_for, None)
        if not request.name:
            faults.insert(0, Violation("name", "cannot be empty"))
        _refuse(faults)
        claims = UserClaims(request.name, request.groups)
        with _issuing():
            token = await self._backends.issuer.issue_user_token(claims, valid_for=valid_for, now=self._backends.now())
        return await self._handed_out(call, TokenKind.USER, token)

    async def _handed_out(self, call: Call, kind: TokenKind, token: str) -> Response:
        await self._backends.store.write([issuance(kind, token)], author=call.author, now=self._backends.now())
        return text_reply(token)

    async def _request(self, call: Call, model: type[R]) -> R:
        if not call.body:
            raise BadRequest("bad request: the body is empty; a JSON object is expected")
        document = await call.document(Limits(size=self._backends.config.api_server.max_body_bytes))
        if not isinstance(document, dict):
            raise BadRequest("bad request: a JSON object is expected")
        fields = _as_declared(model, document)
        try:
            request = model.model_validate(fields)
        except ValidationError as error:
            raise InvalidResource(violations(error), title=INVALID) from None
        _refuse([Violation(field, "is not known") for field in unknown_fields(request, fields)])
        return request


def _as_declared(model: type[LegacySpec], document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the model's spelling of the fields that it knows."""
    known: dict[str, str] = {}
    for name, field in model.model_fields.items():
        known[name] = known[(field.alias or name).casefold()] = field.alias or name
    fields: dict[str, Any] = {}
    for written, value in document.items():
        name = known.get(written.casefold(), written)
        if name in fields:
            raise InvalidResource([Violation(name, "is given more than once")], title=INVALID)
        fields[name] = value
    return fields


@contextmanager
def _issuing() -> Iterator[None]:
    """The issuer refuses in plain words; here they get the title that Kuma's clients know."""
    try:
        yield
    except BadRequest as error:
        error.title = ISSUE
        raise


def _refuse(faults: list[Violation]) -> None:
    if faults:
        raise InvalidResource(faults, title=INVALID)


def _validity(text: str, default: timedelta | None) -> tuple[timedelta, list[Violation]]:
    """How long a token is to hold, with what is wrong about it; without a default it has to be said."""
    if not text:
        return (default, []) if default else (timedelta(), [Violation("validFor", "cannot be empty")])
    try:
        value = parse_duration(text)
    except ValueError as error:
        return timedelta(), [Violation("validFor", f"is invalid: {error}")]
    if value == timedelta() and default is None:
        return value, [Violation("validFor", "cannot be empty or nil")]
    if value <= timedelta():
        return value, [Violation("validFor", "is invalid: must be longer than 0s, or the token would never hold")]
    return value, []

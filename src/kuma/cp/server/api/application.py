"""The REST API as an ASGI application: what happens to every request, around the handlers.

In this order: the caller is identified, CORS is decided, a route is found, media types are checked, the body is read
within its limits, the handler runs. Whatever goes wrong ends in one table (``errors``); no input makes a 5xx, and
no exception reaches a caller as text.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from email.utils import format_datetime
from traceback import format_exception
from typing import Final

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kuma.core.errors import AccessDenied, MeshError, StoreUnavailable, TooLarge, Unauthenticated
from kuma.cp.access.identity import identify
from kuma.cp.access.localhost import RequestFacts
from kuma.cp.access.user import ANONYMOUS, User
from kuma.cp.server.api.call import Call, admits, is_json, json_reply, query_of, text_reply
from kuma.cp.server.api.cors import Cors
from kuma.cp.server.api.errors import problem_of
from kuma.cp.server.api.metrics import ApiMetrics
from kuma.cp.server.api.ports import Backends
from kuma.cp.server.api.routing import Found, Route, Router, parameters, segments_of

_DISCARDED: Final = 4
"""How many times the limit of a body is still read (and dropped), so that its sender gets to hear of the limit."""
_ANY: Final = "Could not process the request"
_CLOSE: Final = {"connection": "close"}

log = structlog.get_logger("api-server")


@dataclass(slots=True)
class _Trace:
    """What becomes known of a request on its way."""

    route: Route | None = None
    user: User = ANONYMOUS


class Api:
    """
    See the module.

    ``root_routes`` stand at the root, all others under the settings' base path. ``answer_within`` is how many seconds
    a handler may take; a store that hangs is a 503 by then.
    """

    def __init__(
        self,
        backends: Backends,
        routes: Iterable[Route],
        root_routes: Iterable[Route],
        metrics: ApiMetrics,
        answer_within: float,
    ) -> None:
        self._backends = backends
        self._answer_within = answer_within
        self._settings = backends.config.api_server
        self._metrics = metrics
        self._base = segments_of(f"/{self._settings.base_path.strip('/')}".encode()) if self._has_base else ()
        self._router = Router(routes)
        self._root_router = Router(root_routes)
        self._cors = Cors(self._settings.cors_allowed_domains)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every operation, with the whole path at which it stands."""
        base = "".join(f"/{segment}" for segment in self._base)
        under_base = (replace(route, path=f"{base}{route.path}") for route in self._router.routes)
        return (*under_base, *self._root_router.routes)

    @property
    def _has_base(self) -> bool:
        return bool(self._settings.base_path.strip("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        trace = _Trace()
        started = time.perf_counter()
        self._metrics.started()
        status, size = 499, 0
        try:
            response = await self._answer(request, trace)
            response.headers["date"] = format_datetime(self._backends.now(), usegmt=True)
            status, size = response.status_code, len(response.body)
            await response(scope, receive, send)
        except ClientDisconnect:
            log.debug("the client went away", method=scope["method"])
        finally:
            handler = trace.route.path if trace.route else "unknown"
            seconds = time.perf_counter() - started
            self._metrics.ended(handler, scope["method"], status, seconds=seconds, size=size)

    async def _answer(self, request: Request, trace: _Trace) -> Response:
        try:
            response = await self._routed(request, trace)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - the last line of defence: what is not in the table is a 500 and is logged
            response = self._failure(request, trace, error)
        for name, value in self._cors.headers(request.headers.get("origin")).items():
            response.headers[name] = value
        return response

    async def _routed(self, request: Request, trace: _Trace) -> Response:
        segments = segments_of(_raw_path(request))
        found = self._find(segments)
        route = found.routes.get(request.method) if found else None
        trace.route = route
        if route is None or not route.public:
            trace.user = await self._identified(request)
        if request.method == "OPTIONS" and self._cors.is_preflight(request.headers):
            return Response(status_code=200, headers=self._cors.preflight(request.headers))
        if found is None:
            return text_reply("404: Page Not Found", 404)
        if route is None:
            return text_reply("405: Method Not Allowed", 405, {"allow": ", ".join(found.routes)})
        refusal = _media_refusal(request, route)
        if refusal is not None:
            return refusal
        body = b""
        if route.takes_body:
            try:
                async with asyncio.timeout(self._settings.read_timeout.total_seconds()):
                    body = await self._body(request)
            except TimeoutError:
                return text_reply("408: Request Timeout", 408, _CLOSE)
        return await self._handled(request, route, found, trace.user, body)

    async def _handled(self, request: Request, route: Route, found: Found, user: User, body: bytes) -> Response:
        call = Call(
            route=route,
            user=user,
            address=_peer(request),
            url=f"{request.scope['scheme']}://{request.headers.get('host', '')}{_raw_path(request).decode('latin-1')}",
            parameters=parameters(route, found.values),
            query=query_of(request.scope["query_string"]),
            body=body,
        )
        try:
            async with asyncio.timeout(self._answer_within):
                return await route.handler(call)
        except TimeoutError as error:
            raise StoreUnavailable(
                f"no answer within {self._answer_within:g}s; whether anything was changed is not known: "
                "look, then try again"
            ) from error

    def _find(self, segments: tuple[str, ...]) -> Found | None:
        at_root = self._root_router.find(segments)
        if at_root is not None:
            return at_root
        length = len(self._base)
        return self._router.find(segments[length:]) if segments[:length] == self._base else None

    async def _identified(self, request: Request) -> User:
        authn = self._settings.authn
        certificate = bool(request.scope.get("state", {}).get("peer_certificate"))
        facts = RequestFacts(
            peer=_peer(request),
            headers=[(key.decode("latin-1"), value.decode("latin-1")) for key, value in request.scope["headers"]],
            target=_raw_path(request).decode("latin-1"),
            scheme=request.scope["scheme"],
        )
        try:
            async with asyncio.timeout(self._answer_within):
                return await identify(
                    facts,
                    localhost_is_admin=authn.localhost_is_admin,
                    verify_user=self._backends.verify_user if authn.type == "tokens" else None,
                    client_certificate_is_admin=certificate and authn.type == "adminClientCerts",
                )
        except TimeoutError as error:
            raise StoreUnavailable(
                f"the caller's token could not be checked within {self._answer_within:g}s"
            ) from error

    async def _body(self, request: Request) -> bytes:
        limit = self._settings.max_body_bytes
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
                continue
            chunks.clear()
            if size > limit * _DISCARDED:
                break
        if size > limit:
            raise TooLarge(f"the body has more than {limit} bytes, which is the limit (apiServer.maxBodyBytes)")
        return b"".join(chunks)

    def _failure(self, request: Request, trace: _Trace, error: Exception) -> Response:
        def report() -> str:
            request_id = self._backends.new_request_id()
            # As text: a log that prints the values of variables would print what the caller sent.
            trail = "".join(format_exception(error))
            log.error(
                "request failed", request_id=request_id, method=request.method, path=_shown(request), traceback=trail
            )
            return request_id

        problem = problem_of(error, trace.route.title if trace.route else _ANY, report)
        if isinstance(error, Unauthenticated):
            log.info("refused a token", address=_peer(request), reason=str(error.__cause__ or error))
        elif isinstance(error, AccessDenied):
            log.info("refused", address=_peer(request), method=request.method, path=_shown(request), reason=str(error))
        elif isinstance(error, StoreUnavailable):
            log.warning("the store is not available", path=_shown(request), reason=_chain(error))
        return json_reply(problem.body(), problem.status, _CLOSE if isinstance(error, TooLarge) else None)


def _media_refusal(request: Request, route: Route) -> Response | None:
    if not admits(", ".join(request.headers.getlist("accept")), route.produces):
        available = ", ".join(route.produces)
        return text_reply(f"406: Not Acceptable\n\nAvailable representations: {available}", 406)
    if not route.takes_body or is_json(request.headers.get("content-type", "")):
        return None
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return None  # without a body its type does not matter; the handler says what is missing
    return text_reply("415: Unsupported Media Type", 415)


def _raw_path(request: Request) -> bytes:
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _shown(request: Request) -> str:
    return _raw_path(request)[:200].decode("latin-1")


def _chain(error: MeshError) -> str:
    return f"{error} ({error.__cause__})" if error.__cause__ else str(error)

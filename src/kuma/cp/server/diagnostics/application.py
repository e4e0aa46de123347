"""The diagnostics server as an ASGI application. It needs no credential: keep its port away from strangers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from traceback import format_exception
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kuma.core.errors import BadRequest
from kuma.core.model.text import Limits, parse_json
from kuma.cp.server.api.call import json_reply, text_reply
from kuma.cp.server.api.routing import segments_of
from kuma.cp.server.diagnostics.levels import LogLevels, TooManyOverrides

_LARGEST_BODY: Final = 4096
_READ_SECONDS: Final = 10.0

log = structlog.get_logger("diagnostics")

_Handler = Callable[[Request, tuple[str, ...]], Awaitable[Response]]


class Diagnostics:
    """``ready`` says whether every part of the control plane has started; ``registry`` holds all metrics."""

    def __init__(self, ready: Callable[[], bool], registry: CollectorRegistry, levels: LogLevels) -> None:
        self._ready = ready
        self._registry = registry
        self._levels = levels

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except BadRequest as error:
            response = text_reply(f"{error}\n", 400)
        except TooManyOverrides as error:
            response = text_reply(f"{error}\n", 429)
        except Exception as error:  # noqa: BLE001 - the last line of defence
            trail = "".join(format_exception(error))
            # Not with exc_info: a log that prints the values of variables would print what the caller sent.
            log.warning("request failed", method=request.method, path=request.url.path[:200], traceback=trail)
            response = text_reply("Internal Server Error\n", 500)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        segments = segments_of(request.scope.get("raw_path") or request.scope["path"].encode())
        handlers = self._handlers(segments)
        if not handlers:
            return text_reply("404: Page Not Found", 404)
        handler = handlers.get(request.method)
        if handler is None:
            return text_reply("405: Method Not Allowed", 405, {"allow": ", ".join(handlers)})
        return await handler(request, segments)

    def _handlers(self, segments: tuple[str, ...]) -> Mapping[str, _Handler]:
        match segments:
            case ("ready",):
                return {"GET": self._readiness}
            case ("healthy",):
                return {"GET": self._liveness}
            case ("metrics",):
                return {"GET": self._metrics}
            case ("logging",):
                return {"GET": self._shown, "PUT": self._put, "DELETE": self._reset_all}
            case ("logging", _):
                return {"DELETE": self._reset}
        return {}

    async def _readiness(self, _: Request, __: tuple[str, ...]) -> Response:
        return text_reply("", 200 if self._ready() else 503)

    async def _liveness(self, _: Request, __: tuple[str, ...]) -> Response:
        return text_reply("")

    async def _metrics(self, request: Request, _: tuple[str, ...]) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        # Thousands of series take longer than the event loop may stand still.
        text = await asyncio.to_thread(encode, self._registry)
        return Response(text, headers={"content-type": content_type})

    async def _shown(self, _: Request, __: tuple[str, ...]) -> Response:
        return self._components(self._levels.overrides)

    async def _put(self, request: Request, _: tuple[str, ...]) -> Response:
        body = await _body(request)
        wanted = parse_json(body, Limits(size=_LARGEST_BODY, depth=2))
        match wanted:
            case {"component": str(component), "level": str(level)}:
                self._levels.put(component, level)
            case _:
                raise BadRequest('expected {"component": "…", "level": "debug|info|off"}')
        log.info("log level changed", component=component, level=level)
        return self._components(self._levels.overrides)

    async def _reset_all(self, _: Request, __: tuple[str, ...]) -> Response:
        return self._components(self._levels.reset_all())

    async def _reset(self, _: Request, segments: tuple[str, ...]) -> Response:
        if not self._levels.reset(segments[1]):
            return text_reply("this component has no level of its own\n", 404)
        return self._components(self._levels.overrides)

    @staticmethod
    def _components(levels: Mapping[str, Any]) -> Response:
        return json_reply({"components": levels})


async def _body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > _LARGEST_BODY:
                    raise BadRequest(f"the body has more than {_LARGEST_BODY} bytes")
    except TimeoutError:
        raise BadRequest(f"the body did not arrive within {_READ_SECONDS:g}s") from None
    return b"".join(chunks)

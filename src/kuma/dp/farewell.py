"""Telling the control plane that this proxy drains, so that other proxies send it no new work.

Envoy's health report says so too, but only within ``dpServer.hds.interval``. A control plane that cannot be told
(Kuma's own, or one that refuses the token) costs nothing but that time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from kuma.core.errors import MeshError
from kuma.dp.control_plane import TRANSIENT, ControlPlane, shown
from kuma.dp.http import Answer, HttpError
from kuma.dp.proxy import Proxy
from kuma.dp.settings import Settings

log = logging.getLogger("kuma.dp")

_AGAIN_SECONDS: Final = 1.0
_ALL_KNOW: Final = 204
_BEING_TOLD: Final = 202


async def say_farewell(
    settings: Settings, proxy: Proxy, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> bool:
    """Ask until every other proxy knows; False when this control plane cannot be told. The caller limits the time."""
    said = ""
    while True:
        try:
            answer = await _ask(settings, proxy)
        except HttpError as error:
            problem = str(error)
        except MeshError as error:
            return _in_vain(str(error))
        else:
            if answer.status == _ALL_KNOW:
                log.info("every other proxy knows that this one drains")
                return True
            if not (answer.status == _BEING_TOLD or answer.status >= 500 or answer.status in TRANSIENT):
                return _in_vain(shown(answer) or str(answer.status))
            problem = "" if answer.status == _BEING_TOLD else f"it answered {answer.status}"
        if problem and not said:
            said = problem
            log.info("the control plane does not know yet that this proxy drains, asking again: %s", problem)
        await pause(_AGAIN_SECONDS)


async def _ask(settings: Settings, proxy: Proxy) -> Answer:
    control_plane = await ControlPlane.reach(settings)
    headers = {"authorization": control_plane.token} if control_plane.token else {}
    return await control_plane.post("/drain", f"{proxy.mesh}.{proxy.name}\n{proxy.run}".encode(), headers)


def _in_vain(reason: str) -> bool:
    log.info("the control plane cannot be told that this proxy drains; it learns from health reports: %s", reason)
    return False

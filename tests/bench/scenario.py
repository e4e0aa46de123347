"""One run: a fresh control plane, a fleet, and every figure of the table in the order in which they can be had."""

from __future__ import annotations

import select
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.bench import mesh
from tests.bench.system import ControlPlane, Fleet

_QUIET: Final = 1.0
"""Seconds without a message after which a change is taken to have arrived everywhere."""
_GET_PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Size:
    """What is run: how many proxies, and how often and how long each thing is done."""

    proxies: int
    services: int
    delta: bool
    endpoint_changes: int = 20
    policy_changes: int = 3
    idle_seconds: float = 30
    within: float = 120
    odd: bool = False
    """Whether every proxy has a policy of its own, so that no two share a configuration."""


@dataclass(slots=True)
class Run:
    """What came of it: figures by row, and facts that must hold whatever the machine."""

    figures: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def must(self, holds: object, otherwise: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.faults.append(otherwise)


def run(size: Size, directory: Path) -> Run:
    """Everything once."""
    result = Run()
    control_plane = ControlPlane(directory)
    try:
        result.figures["cold start, empty (s)"] = control_plane.start()
        proxies = _prepare(control_plane, size, directory)
        fleet = Fleet(control_plane, proxies, delta=size.delta)
        try:
            _storm(control_plane, fleet, size, result)
            if result.faults:
                return result
            _idle(control_plane, size, result)
            _endpoint_changes(control_plane, fleet, size, result)
            _policies(control_plane, fleet, size, result)
            _restart(control_plane, fleet, size, result)
            control_plane.stop()
        finally:
            fleet.close()
        result.figures["cold start, all dataplanes stored (s)"] = control_plane.start()
        total = control_plane.api.get(f"/meshes/{mesh.MESH}/dataplanes?size=1")["total"]
        result.must(total == size.proxies + 1, f"{total} dataplanes are left of {size.proxies + 1}")
    finally:
        control_plane.close()
    return result


def proxy_name(number: int) -> str:
    """What a proxy of the fleet is called."""
    return f"proxy-{number:05}"


def storm_only(size: Size, directory: Path) -> Run:
    """As far as everyone is configured, and two changes: for runs that compare sizes."""
    result = Run()
    control_plane = ControlPlane(directory)
    try:
        control_plane.start()
        empty = control_plane.memory()
        fleet = Fleet(control_plane, _prepare(control_plane, size, directory), delta=size.delta)
        try:
            _storm(control_plane, fleet, size, result)
            result.figures["memory above an empty one (MB)"] = control_plane.memory() - empty
            result.figures["classes of proxies"] = control_plane.metric("mesh_proxy_classes")
            if not result.faults:
                _endpoint_changes(control_plane, fleet, size, result)
                _policy_for_all(control_plane, fleet, size, result)
        finally:
            fleet.close()
    finally:
        control_plane.close()
    return result


def _prepare(control_plane: ControlPlane, size: Size, directory: Path) -> list[dict[str, str]]:
    control_plane.put(f"/meshes/{mesh.MESH}", mesh.mutual_tls())
    control_plane.put(f"/meshes/{mesh.MESH}/meshtrafficpermissions/allow-all", mesh.allow_all())
    _move(control_plane, "10.250.0.1")
    if size.odd:
        for number in range(size.proxies):
            name = proxy_name(number)
            control_plane.put(f"/meshes/{mesh.MESH}/meshtimeouts/of-{name}", mesh.odd_timeout(name, 5_000 + number))
    ca = control_plane.ca_file.read_text()
    proxies = []
    for number in range(size.proxies):
        offered = number % size.services
        name = proxy_name(number)
        address = f"10.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"
        document = mesh.dataplane(name, offered, size.services, address)
        token = control_plane.post("/tokens/dataplane", {"mesh": mesh.MESH, "name": name, "validFor": "24h"})
        node = mesh.node(document, directory, ca).hex()
        proxies.append({"name": name, "service": mesh.service(offered), "node": node, "token": token})
    return proxies


def _move(control_plane: ControlPlane, address: str) -> float:
    """Give an endpoint of the first service another address."""
    return control_plane.put(
        f"/meshes/{mesh.MESH}/dataplanes/{mesh.MOVING}", mesh.dataplane(mesh.MOVING, 0, 0, address)
    )


@contextmanager
def _counted(control_plane: ControlPlane, figures: dict[str, float], row: str, times: int = 1) -> Iterator[None]:
    before = control_plane.cpu()
    yield
    figures[row] = (control_plane.cpu() - before) / times


def _settled(fleet: Fleet, size: Size, result: Run, what: str) -> dict[str, Any]:
    seen = fleet.order("wait", quiet=_QUIET, within=size.within)
    result.must(seen["connected"] == size.proxies, f"{what}: {seen['connected']} of {size.proxies} connected")
    result.must(seen["configured"] == size.proxies, f"{what}: {seen['configured']} of {size.proxies} configured")
    return seen


def _storm(control_plane: ControlPlane, fleet: Fleet, size: Size, result: Run) -> None:
    figures = result.figures
    waits: list[float] = []
    with _counted(control_plane, figures, "all connect at once: CPU (s)"):
        begun = fleet.order("connect")["at"]
        fleet.begin("wait", quiet=_QUIET, within=size.within)
        while not select.select([fleet.answers_on], [], [], _GET_PAUSE)[0]:
            asked = time.monotonic()
            control_plane.api.get(f"/meshes/{mesh.MESH}")
            waits.append(time.monotonic() - asked)
        seen = fleet.answer()
    result.must(seen["configured"] == size.proxies, f"storm: {seen['configured']} of {size.proxies} are configured")
    result.must(not seen["ends"], f"storm: connections ended: {seen['ends']}")
    figures["all connect at once: all configured (s)"] = seen["configured_at"] - begun
    figures["all connect at once: messages per proxy"] = sum(seen["messages"].values()) / size.proxies
    figures["GET of a mesh meanwhile, p99 (ms)"] = _quantile(waits, 0.99) * 1000
    figures["memory afterwards (MB)"] = control_plane.memory()


def _idle(control_plane: ControlPlane, size: Size, result: Run) -> None:
    if size.idle_seconds:
        with _counted(control_plane, result.figures, "idle (% of a core)"):
            time.sleep(size.idle_seconds)
        result.figures["idle (% of a core)"] *= 100 / size.idle_seconds


def _endpoint_changes(control_plane: ControlPlane, fleet: Fleet, size: Size, result: Run) -> None:
    last: list[float] = []
    fleet.order("mark")
    with _counted(control_plane, result.figures, "endpoint change: CPU (s)", size.endpoint_changes):
        for number in range(size.endpoint_changes):
            address = f"10.251.{number // 100}.{100 + number % 100}"
            fleet.order("expect", text=address)
            answered = _move(control_plane, address)
            received = fleet.order("receipts", within=size.within)["at"]
            result.must(received[0], f"endpoint change {number}: {received.count(0.0)} proxies were not told")
            last.append(max(0.0, received[-1] - answered))
            time.sleep(0.2)
    fleet.order("expect", text="")
    seen = _settled(fleet, size, result, "endpoint changes")
    unexpected = {kind: count for kind, count in seen["messages"].items() if kind != "eds"}
    result.must(not unexpected, f"endpoint changes were also told as {unexpected}")
    result.figures["endpoint change: last proxy received, p50 (ms)"] = _quantile(last, 0.5) * 1000
    result.figures["endpoint change: last proxy received, p99 (ms)"] = _quantile(last, 0.99) * 1000


def _policies(control_plane: ControlPlane, fleet: Fleet, size: Size, result: Run) -> None:
    path = f"/meshes/{mesh.MESH}/meshtimeouts/"
    _policy_for_all(control_plane, fleet, size, result)
    chosen = mesh.service(min(size.services, size.proxies) // 2)
    fleet.order("mark")
    with _counted(control_plane, result.figures, "policy for one service: CPU (s)"):
        control_plane.put(f"{path}few", mesh.timeout("few", 6_000, of_service=chosen))
        seen = _settled(fleet, size, result, "policy for one service")
    others = sum(count for service, count in seen["pushed"].items() if service != chosen)
    result.figures["policy for one service: pushes to others"] = others
    result.must(not others, f"policy for one service: {others} pushes to proxies of other services")
    result.must(seen["pushed"].get(chosen), "policy for one service: its proxies were not told")


def _policy_for_all(control_plane: ControlPlane, fleet: Fleet, size: Size, result: Run) -> None:
    path = f"/meshes/{mesh.MESH}/meshtimeouts/"
    seconds: list[float] = []
    before = control_plane.cpu()
    for number in range(size.policy_changes):
        fleet.order("mark")
        answered = control_plane.put(f"{path}everyone", mesh.timeout("everyone", 7_000 + number))
        seen = _settled(fleet, size, result, "mesh-wide policy")
        told = seen["messages"].get("cds", 0)
        result.must(told >= size.proxies, f"mesh-wide policy: {told} cluster updates for {size.proxies} proxies")
        seconds.append(seen["last_at"] - answered)
    result.figures["mesh-wide policy: last message (s)"] = statistics.median(seconds)
    result.figures["mesh-wide policy: CPU (s)"] = (control_plane.cpu() - before) / size.policy_changes


def _restart(control_plane: ControlPlane, fleet: Fleet, size: Size, result: Run) -> None:
    figures = result.figures
    control_plane.stop()
    fleet.order("mark")
    begun = time.monotonic()
    figures["restart under all streams: ready (s)"] = control_plane.start()
    seen = _settled(fleet, size, result, "restart")
    figures["restart under all streams: CPU (s)"] = control_plane.cpu()
    resent = sum(seen["bytes"].values())
    figures["restart under all streams: sent again (bytes per proxy)"] = resent / size.proxies
    if seen["last_at"]:
        figures["restart under all streams: last message (s)"] = seen["last_at"] - begun
    if size.delta:
        result.must(resent <= 64 * size.proxies, f"restart: {resent} bytes were sent again: {seen['bytes']}")
    refused = sum(count for reason, count in seen["ends"].items() if reason.startswith("refused"))
    result.must(not refused, f"restart: proxies were refused: {seen['ends']}")


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]

"""Real Envoys: how long until they all have what a mesh of many services gives them, and what a change costs them."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.bench import mesh
from tests.bench.scenario import Run
from tests.bench.system import ControlPlane
from tests.e2e.harness.api import Api
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.processes import Program, command, descendants, environment

_CHANGES: Final = 10
_WITHIN: Final = 120.0
_PAUSE: Final = 0.02


def run(envoys: int, services: int, directory: Path) -> Run:
    """Once: all start, then single changes, each until every proxy has accepted it."""
    result = Run()
    control_plane = ControlPlane(directory)
    proxies: list[RealProxy] = []
    try:
        control_plane.start()
        control_plane.put(f"/meshes/{mesh.MESH}", mesh.mutual_tls())
        control_plane.put(f"/meshes/{mesh.MESH}/meshtrafficpermissions/allow-all", mesh.allow_all())
        for number in range(services):
            _serve(control_plane, number, f"127.200.{number // 250}.{1 + number % 250}")
        proxies = [RealProxy(control_plane, directory / f"proxy-{one}", one, services) for one in range(envoys)]
        cpu, begun = control_plane.cpu(), time.monotonic()
        for proxy in proxies:
            proxy.launch()
        _until(lambda: all(proxy.ready for proxy in proxies), proxies)
        result.figures["all have started and are configured (s)"] = time.monotonic() - begun
        result.figures["control plane meanwhile: CPU (s)"] = control_plane.cpu() - cpu
        result.figures["an Envoy: CPU so far (s)"] = statistics.median(proxy.cpu for proxy in proxies)
        result.figures["an Envoy: memory (MB)"] = statistics.median(proxy.memory for proxy in proxies)
        result.figures["kuma-dp beside it: memory (MB)"] = statistics.median(proxy.own_memory for proxy in proxies)
        _changes(control_plane, result, envoys)
    finally:
        for proxy in proxies:
            proxy.close()
        control_plane.close()
    return result


class RealProxy:
    """``kuma-dp run`` and its Envoy, on loopback addresses of its own."""

    def __init__(self, control_plane: ControlPlane, directory: Path, number: int, services: int) -> None:
        directory.mkdir()
        name, address = f"real-{number:03}", f"127.{10 + number}.0.1"
        document = mesh.dataplane(name, number % services, services, address)
        for outbound in document["networking"]["outbound"]:
            outbound["address"] = address
        document["networking"]["admin"] = {"port": 9901}
        resource, token = directory / "dataplane.json", directory / "token"
        resource.write_text(json.dumps(document))
        token.write_text(control_plane.post("/tokens/dataplane", {"mesh": mesh.MESH, "name": name, "validFor": "24h"}))
        token.chmod(0o600)
        self._readiness = Api(free_port(), timeout=5)
        self._env = environment(directory, {"KUMA_READINESS_PORT": str(self._readiness.port)})
        self._log = directory / "kuma-dp.log"
        self._arguments = [
            *command("kuma-dp"),
            "run",
            f"--cp-address=https://localhost:{control_plane.dp_port}/",
            "--dns-enabled=false",
            "--concurrency=1",
            f"--dataplane-file={resource}",
            f"--dataplane-token-file={token}",
        ]
        self._program: Program | None = None

    def launch(self) -> None:
        """Start, and wait for nothing."""
        self._program = Program(self._arguments, log=self._log, env=self._env)

    @property
    def ready(self) -> bool:
        """Whether its Envoy has all it was given."""
        assert self._program is not None
        assert self._program.running, self._program.tail()
        try:
            return self._readiness.request("GET", "/ready").status == 200
        except OSError:
            return False

    @property
    def has_envoy(self) -> bool:
        """Whether its Envoy has been started."""
        return any(b"bootstrap.yaml" in _command_line(pid) for pid in self._family)

    @property
    def cpu(self) -> float:
        """CPU-seconds of its Envoy."""
        fields = Path(f"/proc/{self._envoy}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    @property
    def memory(self) -> float:
        """Resident megabytes of its Envoy."""
        return _resident(self._envoy)

    @property
    def own_memory(self) -> float:
        """Resident megabytes of kuma-dp itself."""
        [kuma_dp] = [pid for pid in self._family if b"kuma-dp" in _command_line(pid) and pid != self._envoy]
        return _resident(kuma_dp)

    def close(self) -> None:
        """End it in any case."""
        if self._program is not None:
            self._program.close()

    @property
    def _family(self) -> list[int]:
        assert self._program is not None
        return [self._program.pid, *descendants(self._program.pid)]

    @property
    def _envoy(self) -> int:
        return next(pid for pid in self._family if b"bootstrap.yaml" in _command_line(pid))


def _command_line(pid: int) -> bytes:
    """Empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def _serve(control_plane: ControlPlane, number: int, address: str) -> int:
    """A Dataplane without a proxy that offers a service at an address where nothing listens; the store revision."""
    document = mesh.dataplane(f"service-{number:04}-1", number, 0, address)
    return _revision(control_plane, f"dataplanes/service-{number:04}-1", document)


def _revision(control_plane: ControlPlane, path: str, document: Mapping[str, Any]) -> int:
    answer = control_plane.api.put(f"/meshes/{mesh.MESH}/{path}", document)
    assert answer.status in {200, 201}, answer.text
    return int(answer.headers["kuma-revision"])


def _changes(control_plane: ControlPlane, result: Run, envoys: int) -> None:
    endpoint = [_timed(control_plane, result, envoys, lambda n=n: _serve(control_plane, 0, f"127.201.0.{1 + n}"))
                for n in range(_CHANGES)]  # fmt: skip
    policy = [
        _timed(
            control_plane,
            result,
            envoys,
            lambda n=n: _revision(control_plane, "meshtimeouts/all", mesh.timeout("all", 7000 + n)),
        )
        for n in range(_CHANGES // 2)
    ]
    result.figures["endpoint change: all accepted, p50 (ms)"] = statistics.median(endpoint) * 1000
    result.figures["endpoint change: all accepted, max (ms)"] = max(endpoint) * 1000
    result.figures["mesh-wide policy: all accepted, p50 (ms)"] = statistics.median(policy) * 1000


def _timed(control_plane: ControlPlane, result: Run, envoys: int, change: Any) -> float:
    """
    Seconds from the answer to a change until every proxy has accepted it.

    An Envoy that is busy for half a minute loses its stream and comes back; only those that are connected are told of.
    """
    revision, begun = change(), time.monotonic()
    progress: dict[str, Any] = {"done": 0}
    while progress["done"] < envoys and time.monotonic() - begun < _WITHIN:
        progress = control_plane.api.get(f"/_rollout/{revision}?wait=5s")
        time.sleep(0 if progress["done"] == envoys else _PAUSE)
    result.must(progress["done"] == envoys, f"revision {revision}: {progress}")
    return time.monotonic() - begun


def _until(condition: Any, proxies: list[RealProxy]) -> None:
    deadline = time.monotonic() + _WITHIN
    while not condition():
        assert time.monotonic() < deadline, f"{sum(one.ready for one in proxies)} of {len(proxies)} are ready"
        time.sleep(_PAUSE)

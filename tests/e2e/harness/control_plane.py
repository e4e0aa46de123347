"""``kuma-cp run`` with ports and a work directory of its own."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.harness.api import Api
from tests.e2e.harness.kumactl import Kumactl
from tests.e2e.harness.namespaces import Host
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.processes import Program, command, environment
from tests.e2e.harness.waiting import wait_until

# Long delays of production would make long tests; what is shortened here is not what the tests are about.
_BRISK = {
    "KUMA_DP_SERVER_HDS_INTERVAL": "2s",
    "KUMA_DP_SERVER_HDS_REFRESH_INTERVAL": "2s",
    "KUMA_XDS_SERVER_DATAPLANE_STATUS_FLUSH_INTERVAL": "1s",
    "KUMA_METRICS_MESH_FULL_RESYNC_INTERVAL": "5s",
}


class ControlPlane:
    """A control plane that can be killed and started again with all it has stored."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        host: Host | None = None,
        config: str = "",
        flags: tuple[str, ...] = (),
    ) -> None:
        """On ``host``, else on this machine. ``config`` is the text of a configuration file."""
        self._prefix = host.prefix if host else ()
        connect = host.open if host else socket.create_connection
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self._arguments: tuple[str, ...] = ("run", *flags)
        if config:
            file = directory / "kuma-cp.yaml"
            file.write_text(config)
            self._arguments = ("run", *flags, "-c", str(file))
        self.http_port = free_port()
        self.https_port = free_port()
        self.dp_port = free_port()
        self.diagnostics_port = free_port()
        self.api = Api(self.http_port, open=connect)
        over_tls = (settings or {}).get("KUMA_DIAGNOSTICS_TLS_ENABLED") == "true"
        self.diagnostics = Api(self.diagnostics_port, open=_over_tls(connect) if over_tls else connect)
        self.kumactl = Kumactl(self.home, {}, self._prefix)
        self._settings = {
            "KUMA_API_SERVER_HTTP_INTERFACE": "127.0.0.1",
            "KUMA_API_SERVER_HTTP_PORT": str(self.http_port),
            "KUMA_API_SERVER_HTTPS_INTERFACE": "127.0.0.1",
            "KUMA_API_SERVER_HTTPS_PORT": str(self.https_port),
            "KUMA_DP_SERVER_PORT": str(self.dp_port),
            "KUMA_DIAGNOSTICS_SERVER_PORT": str(self.diagnostics_port),
            "KUMA_MONITORING_ASSIGNMENT_SERVER_ENABLED": "false",
            "KUMA_INTER_CP_SERVER_PORT": str(free_port()),
            "KUMA_GENERAL_WORK_DIR": str(directory / "work"),
            **_BRISK,
            **(settings or {}),
        }
        self._program: Program | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dp_url(self) -> str:
        return f"https://localhost:{self.dp_port}/"

    @property
    def program(self) -> Program:
        assert self._program, "the control plane was never started"
        return self._program

    def change(self, **settings: str) -> None:
        """Settings for the next start, by their variables."""
        self._settings.update(settings)

    def start(self, *, seconds: float = 20) -> ControlPlane:
        """Start, or start again in the same work directory, and wait until it is ready."""
        self._program = Program(
            [*self._prefix, *command("kuma-cp"), *self._arguments],
            log=self.directory / "kuma-cp.log",
            env=environment(self.home, self._settings),
        )
        self.wait_ready(seconds=seconds)
        if not (self.home / ".kumactl").exists():
            self.kumactl.connect(self.url)
        return self

    def wait_ready(self, *, seconds: float = 20) -> None:
        def ready() -> bool:
            if not self.program.running:
                raise ControlPlaneEnded(f"kuma-cp ended with {self.program.exit_code}\n{self.program.tail()}")
            return self.diagnostics.request("GET", "/ready").status == 200

        wait_until(ready, "kuma-cp is ready", seconds=seconds, explain=self.program.tail)

    def assert_healthy_log(self) -> None:
        """Nothing unexpected happened: no traceback, and nothing the control plane itself calls an error."""
        self.program.assert_clean_log()
        errors = [line for line in self.program.log().splitlines() if "\tERROR\t" in line]
        assert not errors, errors[:10]

    def kill(self) -> None:
        self.program.kill()

    def stop(self, *, seconds: float = 10) -> int:
        return self.program.terminate(seconds=seconds)

    def close(self) -> None:
        if self._program:
            self._program.close()

    def token(self, name: str, mesh: str, *flags: str, valid_for: str = "1h") -> str:
        """A dataplane token, made with kumactl."""
        named = ("--name", name) if name else ()
        return self.kumactl("generate", "dataplane-token", *named, "--mesh", mesh, "--valid-for", valid_for, *flags)

    def overview(self, name: str, mesh: str = "default") -> dict[str, Any]:
        """What the control plane shows of a proxy."""
        overview: dict[str, Any] = self.api.get(f"/meshes/{mesh}/dataplanes/{name}/_overview")
        return overview

    def subscription(self, name: str, mesh: str = "default") -> dict[str, Any]:
        """The newest connection of a proxy."""
        subscriptions: list[dict[str, Any]] = self.overview(name, mesh)["dataplaneInsight"]["subscriptions"]
        return subscriptions[-1]

    def online(self, name: str, mesh: str = "default") -> bool:
        """Whether a proxy is connected now."""
        try:
            subscription = self.subscription(name, mesh)
        except (AssertionError, LookupError):
            return False
        return "disconnectTime" not in subscription

    def rejections(self, name: str, mesh: str = "default") -> dict[str, Any]:
        """Types of configuration that the proxy refused since it connected."""
        status: dict[str, Any] = self.subscription(name, mesh)["status"]
        return {
            type_: counts
            for type_, counts in status.items()
            if isinstance(counts, dict) and int(counts.get("responsesRejected", 0))
        }


def _over_tls(connect: Callable[..., socket.socket]) -> Callable[[tuple[str, int], float], socket.socket]:
    """Connects and shakes hands with whoever it is: only readiness is asked for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return lambda address, timeout: context.wrap_socket(connect(address, timeout))


class ControlPlaneEnded(Exception):
    """It ended instead of getting ready; waiting longer is of no use."""

"""``kuma-dp run`` with its Envoy, as a user starts it beside a service."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.harness import documents
from tests.e2e.harness.api import Api
from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.documents import Inbound
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.processes import Program, command, descendants, environment
from tests.e2e.harness.waiting import wait_until


class Given(Enum):
    """How kuma-dp is told which proxy it is."""

    FILE = auto()
    TEXT = auto()
    NAME = auto()
    TEMPLATE_ON_STDIN = auto()


class Proxy:
    """One data plane proxy: its files, its process, what it says of itself."""

    def __init__(
        self,
        control_plane: ControlPlane,
        directory: Path,
        name: str,
        *,
        mesh: str = "default",
        inbounds: Sequence[Inbound] = (),
        calls: Sequence[str] = (),
        token: str | None = None,
        drain: str = "1s",
        env: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
        given: Given = Given.FILE,
        address: str = "127.0.0.1",
    ) -> None:
        self.name = name
        self.mesh = mesh
        self.control_plane = control_plane
        self.directory = directory
        directory.mkdir(parents=True)
        self.ports = {service: free_port() for service in calls}
        self.inbounds = tuple(inbounds) or (Inbound(name, "tcp", free_port(), free_port()),)
        self.readiness = Api(free_port())
        self.admin_port = free_port()
        self.resource = directory / "dataplane.yaml"
        self.resource.write_text(
            documents.dataplane(name, mesh, self.inbounds, self.ports, admin_port=self.admin_port, address=address)
        )
        self.token_file = directory / "token"
        self.token_file.write_text(control_plane.token(name, mesh) if token is None else token)
        # Short, for there will be Unix sockets in it; kuma-dp leaves its own directory behind when it is killed.
        self._scratch = TemporaryDirectory(prefix="e2e-")
        chosen = {
            "TMPDIR": self._scratch.name,
            "KUMA_READINESS_PORT": str(self.readiness.port),
            "KUMA_CONTROL_PLANE_RETRY_BACKOFF": "300ms",
            **(env or {}),
        }
        self._env = {variable: value for variable, value in chosen.items() if value}
        self._arguments = (
            f"--cp-address={control_plane.dp_url}",
            "--dns-enabled=false",
            *self._resource_flags(given),
            *([f"--dataplane-token-file={self.token_file}"] if token != "" else []),
            f"--drain-time={drain}",
            "--concurrency=1",
            *flags,
        )
        self._stdin = ""
        if given is Given.TEMPLATE_ON_STDIN:
            self._stdin = self.resource.read_text().replace(f"name: {name}\n", "name: {{ name }}\n")
        self._program: Program | None = None
        self.may_refuse = False

    @property
    def scratch(self) -> Path:
        """Where kuma-dp makes its work directory."""
        return Path(self._scratch.name)

    @property
    def launched(self) -> bool:
        return self._program is not None

    @property
    def program(self) -> Program:
        assert self._program, "the proxy was never started"
        return self._program

    def launch(self) -> Proxy:
        """Start, and wait for nothing."""
        self._program = Program(
            [*command("kuma-dp"), "run", *self._arguments],
            log=self.directory / "kuma-dp.log",
            env=environment(self.directory, self._env),
            stdin=self._stdin,
        )
        return self

    def _resource_flags(self, given: Given) -> tuple[str, ...]:
        match given:
            case Given.FILE:
                return (f"--dataplane-file={self.resource}",)
            case Given.TEXT:
                return (f"--dataplane={self.resource.read_text()}",)
            case Given.NAME:
                return (f"--name={self.name}", f"--mesh={self.mesh}")
            case Given.TEMPLATE_ON_STDIN:
                return ("--dataplane-file=-", f"--dataplane-var=name={self.name}")

    def start(self, *, seconds: float = 20) -> Proxy:
        """Start, and wait until it has joined and listens."""
        self.launch()
        self.wait_ready(seconds=seconds)
        return self

    def wait_ready(self, *, seconds: float = 20) -> None:
        def ready() -> bool:
            if not self.program.running:
                raise ProxyEnded(f"kuma-dp of {self.name} ended with {self.program.exit_code}\n{self.program.tail()}")
            return self.readiness.request("GET", "/ready").status == 200 and self.online

        wait_until(ready, f"{self.name} has joined", seconds=seconds, explain=self.program.tail)

    @property
    def online(self) -> bool:
        """Whether the control plane shows it as connected."""
        return self.control_plane.online(self.name, self.mesh)

    @property
    def envoy_pid(self) -> int:
        """Its Envoy's process id."""
        for pid in descendants(self.program.pid):
            if b"bootstrap.yaml" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        raise AssertionError(f"{self.name} runs no Envoy\n{self.program.tail()}")

    def outbound(self, service: str) -> int:
        """The local port on which a service of the mesh is called."""
        return self.ports[service]

    def drain(self, *, seconds: float = 20) -> int:
        """SIGTERM, and the exit code when it has drained and ended."""
        return self.program.terminate(seconds=seconds)

    def begin_draining(self) -> None:
        self.program.signal(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9`` of kuma-dp; Envoy ends with it."""
        self.program.kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Its Envoy does nothing meanwhile, as on a host that is overloaded."""
        pid = self.envoy_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def reopen_logs(self) -> None:
        """As log rotation does: Envoy writes what it holds, else for up to ten seconds, and opens its files anew."""
        os.kill(self.envoy_pid, signal.SIGUSR1)

    def close(self) -> None:
        if self._program:
            self._program.close()
        self._scratch.cleanup()


class ProxyEnded(Exception):
    """It ended instead of getting ready; waiting longer is of no use."""

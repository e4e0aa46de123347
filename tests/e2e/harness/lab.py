"""One test's world: what it started is looked at once more when it has passed, and always ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.e2e.harness import envoy_check
from tests.e2e.harness.applications import Application, GrpcEcho, HttpEcho, TcpEcho
from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.documents import Inbound
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Given, Proxy
from tests.e2e.harness.waiting import wait_until
from tests.e2e.harness.witness import Witness

A = TypeVar("A", bound=Application)


class Lab:
    """Makes control planes, applications and proxies, and ends them in the opposite order."""

    def __init__(self, directory: Path, shared: Callable[[], ControlPlane]) -> None:
        self.directory = directory
        self.proxies: list[Proxy] = []
        self.proxy_env: dict[str, str] = {}
        self._shared = shared
        self._own: ControlPlane | None = None
        self._applications: list[Application] = []

    @property
    def control_plane(self) -> ControlPlane:
        """The test's own control plane if it made one, else the one all tests of the file share."""
        return self._own or self._shared()

    def own_control_plane(self, settings: Mapping[str, str] | None = None, config: str = "") -> ControlPlane:
        """A control plane for this test alone, because it is killed or set up differently."""
        self._own = ControlPlane(self.directory / "control-plane", settings, config=config)
        return self._own.start()

    def mesh(self, document: str) -> None:
        """Create or change a mesh."""
        self.control_plane.kumactl.apply(document)

    def http(self, name: str) -> HttpEcho:
        return self._keep(HttpEcho(name))

    def tcp(self, name: str) -> TcpEcho:
        return self._keep(TcpEcho(name))

    def grpc(self, name: str) -> GrpcEcho:
        return self._keep(GrpcEcho(name))

    def witness(self, name: str) -> Witness:
        return self._keep(Witness(name))

    def _keep(self, application: A) -> A:
        self._applications.append(application)
        return application

    def proxy(
        self,
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
        copy: str = "",
    ) -> Proxy:
        """A proxy, not started. ``copy`` tells apart two that are called the same."""
        proxy = Proxy(
            self.control_plane,
            self.directory / f"{name}{copy}",
            name,
            mesh=mesh,
            inbounds=inbounds,
            calls=calls,
            token=token,
            drain=drain,
            env={**self.proxy_env, **(env or {})},
            flags=flags,
            given=given,
            address=address,
        )
        self.proxies.append(proxy)
        return proxy

    def service(
        self,
        name: str,
        application: Application,
        protocol: str,
        *,
        service: str,
        mesh: str = "default",
        probe: bool = False,
        drain: str = "1s",
        token: str | None = None,
        address: str = "127.0.0.1",
        copy: str = "",
    ) -> Proxy:
        """A proxy, not started, in front of an application."""
        inbound = Inbound(service, protocol, free_port(), application.port, probe=probe)
        return self.proxy(name, mesh=mesh, inbounds=[inbound], drain=drain, token=token, address=address, copy=copy)

    def look_again(self) -> None:
        """
        After a test that passed: no proxy ever refused what it got, and a fresh Envoy would take it.

        Raises:
            AssertionError: otherwise.
        """
        self.control_plane.assert_healthy_log()
        for proxy in self.proxies:
            if proxy.launched:
                proxy.program.assert_clean_log()
        for proxy in self.proxies:
            if not proxy.launched or not proxy.program.running or not proxy.online or proxy.may_refuse:
                continue
            rejected = self.control_plane.rejections(proxy.name, proxy.mesh)
            assert not rejected, f"{proxy.name} refused {rejected}"
            wait_until(lambda proxy=proxy: self._assert_valid(proxy), f"{proxy.name} takes all it got", seconds=5)  # type: ignore[misc] # a bound default

    def _assert_valid(self, proxy: Proxy) -> bool:
        dump = self.control_plane.api.get(f"/meshes/{proxy.mesh}/dataplanes/{proxy.name}/xds?include_eds=true")
        envoy_check.assert_valid(dump, proxy.directory)
        return True

    def logs(self) -> str:
        """The ends of all logs, for a test that failed."""
        parts = [self._own.program.tail(20)] if self._own else []
        parts += [proxy.program.tail(6) for proxy in self.proxies if proxy.launched]
        return "\n".join(parts)

    def close(self) -> None:
        """End everything; a second call ends nothing more."""
        for proxy in reversed(self.proxies):
            proxy.close()
        for application in reversed(self._applications):
            application.close()
        if self._own:
            self._own.close()

"""From nothing to the first call over mutual TLS: what is started, in which order, and what each step waits for."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kuma.demo.directory import write
from kuma.demo.documents import MESH, Instance, Layout
from kuma.demo.errors import ProgramFailed
from kuma.demo.http import RequestFailed, request
from kuma.demo.observe import Observer
from kuma.demo.programs import Program, Programs, command
from kuma.demo.progress import Step
from kuma.demo.traffic import Clock, Visit, visit

_SECONDS: Final = 60
_DRAIN: Final = "500ms"
_API_INSTANCES: Final = 2


class Start:
    """Starts everything once; ``steps`` tells how far it is."""

    def __init__(self, layout: Layout, directory: Path, programs: Programs, observer: Observer, clock: Clock) -> None:
        self.steps: list[Step] = []
        self.first: float | None = None
        """When the first call over mutual TLS was answered."""
        self._layout = layout
        self._directory = directory
        self._programs = programs
        self._observer = observer
        self._clock = clock

    @property
    def kumactl_config(self) -> Path:
        return self._directory / "kumactl.yaml"

    async def run(self) -> None:
        """
        Start everything.

        Raises:
            ProgramFailed: a program did not start, or ended.
            NotInTime: something took too long.
        """
        write(self._directory, self._layout.files(self._directory / "control-plane"))
        (self._directory / "logs").mkdir(mode=0o700)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._applications(), name="applications")
            known = tasks.create_task(self._make_known(), name="kumactl config")
            await self._control_plane()
            await self._tokens()
            tasks.create_task(self._configuration(known), name="configuration")
            await self._launch_proxies()
            tasks.create_task(self._proxies_join(), name="proxies")
            await self._first_call()
        await self._every_instance()

    def _step(self, name: str, note: str = "") -> Step:
        step = Step(name, self._clock(), note=note)
        self.steps.append(step)
        return step

    async def _control_plane(self) -> None:
        step = self._step("control plane")
        program = await self._programs.start(
            "kuma-cp",
            "kuma-cp, the control plane,",
            [*command("kuma-cp"), "run", "--config-file", str(self._directory / "control-plane.yaml")],
        )

        async def ready() -> bool:
            return await _succeeds(self._layout.diagnostics, "/ready") and await _succeeds(
                self._layout.api, f"/meshes/{MESH}"
            )

        await self._programs.until(ready, "the control plane is ready", [program], _SECONDS)
        step.done(self._clock(), self._layout.api_url)

    async def _applications(self) -> None:
        step = self._step("applications", "a web front end, an API twice, a key-value store")
        started = []
        for instance in self._layout.instances:
            arguments = [sys.executable, "-m", f"kuma.demo.apps.{instance.service}", *_flags(instance)]
            program = await self._programs.start(f"app-{instance.name}", f"the application {instance.name}", arguments)
            started.append(program)

        async def listening() -> bool:
            return all([await _listens(instance.application_port) for instance in self._layout.instances])

        await self._programs.until(listening, "the applications listen", started, _SECONDS)
        step.done(self._clock())

    async def _tokens(self) -> None:
        step = self._step("tokens", "one for each proxy")
        for instance in self._layout.instances:
            wanted = json.dumps({"name": instance.name, "mesh": MESH, "validFor": "24h"})
            try:
                answer = await request(
                    self._layout.api, "POST", "/tokens/dataplane", body=wanted, accept="text/plain", seconds=20
                )
            except RequestFailed as error:
                raise ProgramFailed(f"kuma-cp gave no token for {instance.name}: {error}") from error
            if answer.status != 200:
                raise ProgramFailed(f"kuma-cp gave no token for {instance.name}: {answer.status} {answer.text[:300]}")
            write(self._directory, {f"{instance.name}.token": answer.text})
        step.done(self._clock())

    async def _make_known(self) -> None:
        """Tell kumactl where the control plane will be."""
        add = ("config", "control-planes", "add", "--name=demo", f"--address={self._layout.api_url}", "--skip-check")
        await self._kumactl("kumactl config", *add)

    async def _configuration(self, known: asyncio.Task[None]) -> None:
        step = self._step("policies", "web may call api and kv, nobody else anything; mutual TLS on")
        await known
        await self._kumactl("kumactl apply", "apply", "-f", str(self._directory / "mesh"))
        step.done(self._clock())

    async def _kumactl(self, what: str, *arguments: str) -> None:
        config = ("--config-file", str(self.kumactl_config))
        await self._programs.tool("kumactl", what, [*command("kumactl"), *config, *arguments])

    async def _launch_proxies(self) -> None:
        for instance in self._layout.instances:
            await self._programs.start(
                instance.name,
                f"kuma-dp of {instance.name}",
                [
                    *command("kuma-dp"),
                    "run",
                    f"--cp-address=https://localhost:{self._layout.dp}",
                    f"--dataplane-file={self._directory / instance.name}.yaml",
                    f"--dataplane-token-file={self._directory / instance.name}.token",
                    f"--work-dir={self._directory / instance.name}",
                    f"--drain-time={_DRAIN}",
                    "--dns-enabled=false",
                    "--concurrency=1",
                    "--envoy-log-level=warning",
                ],
                KUMA_READINESS_PORT=str(instance.readiness_port),
            )

    async def _proxies_join(self) -> None:
        step = self._step("proxies")

        async def joined() -> bool:
            known = (await self._observer.look()).proxies or {}
            online = [x.name for x in self._layout.instances if x.name in known and known[x.name].online]
            step.note = ", ".join(online)
            return len(online) == len(self._layout.instances)

        await self._programs.until(joined, "all proxies have joined", self._needed, _SECONDS)
        step.done(self._clock())

    @property
    def _needed(self) -> Sequence[Program]:
        names = ("kuma-cp", *(instance.name for instance in self._layout.instances))
        return [self._programs.all[name] for name in names]

    async def _visit(self) -> Visit:
        return await visit(self._layout.web.application_port, self._clock)

    async def _first_call(self) -> None:
        step = self._step("first mTLS request")

        async def encrypted() -> bool:
            seen = await self._visit()
            if seen.encrypted:
                self.first = self._clock()
                step.done(self.first, f"{seen.caller} → {seen.api_instance}")
            else:
                step.note = f"not yet: {seen.error}" if seen.error else "not yet: the API sees no certificate"
            return seen.encrypted

        await self._programs.until(encrypted, "a request over mutual TLS", self._needed, _SECONDS)

    async def _every_instance(self) -> None:
        """What is counted later begins when all of it works."""
        step = self._step("all of it")
        answered: set[str] = set()

        async def complete() -> bool:
            seen = await self._visit()
            if seen.complete:
                answered.add(seen.api_instance)
                step.note = f"{', '.join(sorted(answered))} answered, kv counted"
            return len(answered) == _API_INSTANCES

        await self._programs.until(complete, "both instances of the API answer", self._needed, _SECONDS)
        step.done(self._clock())


def _flags(instance: Instance) -> list[str]:
    flags = [f"--port={instance.application_port}"]
    if instance.service == "api":
        flags.append(f"--name={instance.name}")
    return [*flags, *(f"--{service}-port={port}" for service, port in instance.outbounds)]


async def _succeeds(port: int, path: str) -> bool:
    try:
        return (await request(port, "GET", path)).status == 200
    except RequestFailed:
        return False


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True

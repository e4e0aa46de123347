"""kuma-dp as a process, with a real Envoy and a control plane that only answers the first request."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import kuma
from kuma.core.xds.bootstrap import BootstrapParams, BootstrapRequest, ProxyFacts, bootstrap, to_yaml
from kuma.core.xds.node import RUN
from kuma.dp.http import HttpError, Peer, request
from tests.unit.dp.control_plane import ControlPlane, accepted, fingerprint, pem, token

SOURCE = Path(kuma.__file__).parents[1]
SECONDS = 20


class _Running:
    """A kuma-dp, and what can be seen of it from outside."""

    def __init__(self, process: subprocess.Popen, log: Path, folder: Path) -> None:
        self.process = process
        self.log = log
        self.folder = folder

    def text(self) -> str:
        return self.log.read_text()

    def until(self, condition, what: str):
        """Wait for a condition, with a deadline."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if result := condition():
                return result
            time.sleep(0.01)
        raise AssertionError(f"not within {SECONDS}s: {what}\n{self.text()}")

    def until_logged(self, words: str) -> None:
        self.until(lambda: words in self.text(), f"log has {words!r}")

    def envoy(self) -> int:
        """The process id of its Envoy, once there is one."""
        return self.until(self.envoy_now, "Envoy runs")

    def envoy_now(self) -> int:
        """The process id of its Envoy, 0 without one."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except FileNotFoundError:
            return 0
        for child in children:
            try:
                if b"--config-path" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
            except FileNotFoundError:
                continue
        return 0

    def exit_code(self) -> int:
        return self.process.wait(SECONDS)

    @property
    def port(self) -> int:
        self.until_logged("readiness on port")
        return int(self.text().split("readiness on port ")[1].split()[0])


@contextmanager
def _running(control_plane, *args, env=None, name="web-1"):
    """A kuma-dp that is gone afterwards, with its Envoy."""
    with tempfile.TemporaryDirectory(prefix="dp-") as folder, Path(folder, "log").open("wb") as log:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("KUMA_")}
        settings = {
            "PYTHONPATH": str(SOURCE),
            "TMPDIR": folder,
            "KUMA_CONTROL_PLANE_RETRY_BACKOFF": "10ms",
            "KUMA_DATAPLANE_RUNTIME_TOKEN": token(CaFingerprint=fingerprint()),
        }
        identity = ["--name", name, "--mesh", "default"] if name else []
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from kuma.dp.cli import main; main()", "run"),
                *("--cp-address", control_plane.url, "--concurrency", "1", "--drain-time", "100ms"),
                *identity,
                *args,
            ],
            env={k: v for k, v in (clean | settings | (env or {})).items() if v is not None},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        running = _Running(process, Path(folder, "log"), Path(folder))
        envoy = 0
        try:
            yield running
            envoy = running.envoy_now()
        finally:
            process.kill()
            process.wait()
            if envoy:
                running.until(lambda: not _alive(envoy), "Envoy is gone")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _ready(port: int) -> bytes:
    try:
        return asyncio.run(request(Peer("127.0.0.1", port), "GET", "/ready", timeout=2)).body
    except HttpError:
        return b""


def test_a_proxy_joins_becomes_ready_and_ends_cleanly():
    """Token only, no CA file; on SIGTERM it drains, exits with 0 and leaves nothing behind."""
    with ControlPlane() as control_plane, _running(control_plane) as proxy:
        envoy = proxy.envoy()
        port = proxy.port
        proxy.until(lambda: _ready(port) == b"LIVE\n", "Envoy is ready")
        (asked,) = control_plane.requests
        (workdir,) = proxy.folder.glob("kuma-dp-*")
        modes = {file.name: file.stat().st_mode & 0o777 for file in workdir.iterdir() if file.is_file()}
        environment = Path(f"/proc/{envoy}/environ").read_bytes()
        proxy.process.send_signal(signal.SIGTERM)

        assert proxy.exit_code() == 0
        assert not _alive(envoy)
        assert not workdir.exists()
        assert "SIGTERM: draining for at most 100ms" in proxy.text()
        assert token(CaFingerprint=fingerprint()) not in proxy.text()
        assert b"KUMA_DATAPLANE_RUNTIME_TOKEN" not in environment

    assert modes == {"bootstrap.yaml": 0o600, ".in-use": 0o600}
    assert asked["workdir"] == str(workdir)
    assert asked["readinessPort"] == port
    assert asked["dynamicMetadata"].keys() == {RUN}
    assert asked["version"]["envoy"]["kumaDpCompatible"] is True
    assert asked["caCert"].strip() == pem().strip()
    assert asked["dataplaneTokenPath"] == f"{workdir}/web-1"


def test_draining_is_announced_before_envoy_ends():
    """Readiness says TERMINATING while open connections go on."""
    with ControlPlane() as control_plane, _running(control_plane, "--drain-time", "1h") as proxy:
        envoy = proxy.envoy()
        port = proxy.port
        proxy.process.send_signal(signal.SIGTERM)
        proxy.until_logged("draining for at most 1h0m0s")

        assert _ready(port) == b"TERMINATING\n"
        assert _alive(envoy)

        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.exit_code() == 0


def test_envoy_dies_with_kuma_dp():
    """Whatever kills kuma-dp, no Envoy is left that nobody looks after, and the next start clears the rest away."""
    with ControlPlane() as control_plane, _running(control_plane) as proxy:
        envoy = proxy.envoy()
        proxy.process.kill()
        proxy.process.wait()

        proxy.until(lambda: not _alive(envoy), "Envoy is gone")
        (left,) = proxy.folder.glob("kuma-dp-*")
        with _running(control_plane, env={"TMPDIR": str(proxy.folder)}) as next_one:
            next_one.envoy()
            assert not left.exists()


def test_kuma_dp_ends_with_envoy():
    """So that whatever started it can start it again; the exit code is that of a kill."""
    with ControlPlane() as control_plane, _running(control_plane) as proxy:
        os.kill(proxy.envoy(), signal.SIGKILL)

        assert proxy.exit_code() == 137
        assert "Envoy was ended by SIGKILL" in proxy.text()


def test_a_bootstrap_that_envoy_refuses_is_a_failure():
    """Envoy's reason stands in the log, its exit code is kuma-dp's."""
    with (
        ControlPlane(lambda _: accepted(b"node: {nonsense: 1}")) as control_plane,
        _running(control_plane) as proxy,
    ):
        assert proxy.exit_code() == 1
        assert "nonsense" in proxy.text()
        assert "Envoy ended with exit code 1" in proxy.text()


def test_sigterm_while_joining_ends_at_once():
    """Nothing to drain yet, nothing left behind."""
    with ControlPlane(lambda _: (503, b"")) as control_plane, _running(control_plane) as proxy:
        proxy.until_logged("cannot join yet")
        proxy.process.send_signal(signal.SIGTERM)

        assert proxy.exit_code() == 0
        assert not list(proxy.folder.glob("kuma-dp-*"))


def test_sigusr2_drains_and_stays():
    """For a zero-downtime stop in two steps."""
    with ControlPlane() as control_plane, _running(control_plane, "--drain-time", "1h") as proxy:
        envoy = proxy.envoy()
        proxy.until_logged("readiness on port")
        proxy.process.send_signal(signal.SIGUSR2)
        proxy.until_logged("draining inbound connections")
        assert _alive(envoy)
        proxy.process.send_signal(signal.SIGTERM)

        assert proxy.exit_code() == 0


def test_a_refusal_reaches_the_user_in_one_sentence():
    """With exit code 1 and no trace of the program's inside."""
    refuse = ControlPlane(lambda _: (422, b'mesh: mesh "x" does not exist'))
    with refuse as control_plane, _running(control_plane) as proxy:
        assert proxy.exit_code() == 1
        assert "Error: the control plane at https://localhost" in proxy.text()
        assert 'mesh: mesh "x" does not exist' in proxy.text()
        assert "Traceback" not in proxy.text()


def test_an_expired_token_is_told_at_the_start():
    """The control plane decides; but whoever starts kuma-dp need not wait for its refusal."""
    env = {"KUMA_DATAPLANE_RUNTIME_TOKEN": token(CaFingerprint=fingerprint(), exp=1700000000)}
    with ControlPlane() as control_plane, _running(control_plane, env=env) as proxy:
        proxy.envoy()

        assert "the dataplane token expired at 2023-11-14T22:13:20+00:00" in proxy.text()


def test_a_taken_readiness_port_is_told_to_the_control_plane():
    """Two proxies on one machine: the second one's Envoy looks at the right port."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deadline = time.monotonic() + 60
        while True:  # a proxy of another test may have it, and leave it while this one starts
            try:
                taken.bind(("127.0.0.1", 9902))
                taken.listen()
                break
            except OSError:
                assert time.monotonic() < deadline, "port 9902 stays taken"
                time.sleep(0.05)
        with ControlPlane() as control_plane, _running(control_plane) as proxy:
            port = proxy.port

            assert port != 9902
            assert control_plane.requests[0]["readinessPort"] == port


def test_a_definition_with_variables_in_the_given_work_dir():
    """The definition travels rendered; the work directory is the user's and stays."""
    with tempfile.TemporaryDirectory(prefix="dp-") as folder:
        file = Path(folder, "dp.yaml")
        file.write_text("type: Dataplane\nmesh: default\nname: {{ name }}\nnetworking: {address: 127.0.0.1}")
        work = Path(folder, "work")
        args = ["-d", str(file), "-v", "name=web-7", "--work-dir", str(work)]
        with ControlPlane() as control_plane, _running(control_plane, *args, name="") as proxy:
            proxy.envoy()
            proxy.process.send_signal(signal.SIGINT)

            assert proxy.exit_code() == 0
        assert (work / "bootstrap.yaml").exists()

    assert control_plane.requests[0]["name"] == "web-7"
    assert '"name":"web-7"' in control_plane.requests[0]["dataplaneResource"]


@pytest.mark.parametrize("reloadable", [False, True])
def test_envoy_starts_with_the_real_bootstrap(reloadable):
    """The control plane's own generator, read by Envoy and by kuma-dp."""
    with ControlPlane() as control_plane:
        params = BootstrapParams(
            xds_host="localhost", xds_port=control_plane.port, ca=pem(), reloadable_tokens=reloadable
        )

        def respond(asked):
            typed = BootstrapRequest.from_json(json.dumps(asked).encode())
            return accepted(to_yaml(bootstrap(typed, params, ProxyFacts(services=("web",)))).encode())

        control_plane.respond = respond
        with _running(control_plane) as proxy:
            envoy = proxy.envoy()
            (workdir,) = proxy.folder.glob("kuma-dp-*")
            proxy.until((workdir / "kuma-envoy-admin.sock").exists, "Envoy's admin socket is there")
            assert _alive(envoy)
            assert (workdir / "web-1").exists() == reloadable
            proxy.process.send_signal(signal.SIGTERM)

            assert proxy.exit_code() == 0


def test_kuma_dp_stays_small():
    """The budget for kuma-dp itself is 40 MB."""
    with ControlPlane() as control_plane, _running(control_plane) as proxy:
        proxy.envoy()
        proxy.until_logged("readiness on port")
        status = Path(f"/proc/{proxy.process.pid}/status").read_text()

    assert int(status.split("VmRSS:")[1].split()[0]) < 40 * 1024


def test_it_never_loads_what_is_heavy():
    """Neither pydantic nor protobuf nor the control plane, through all of a proxy's modules."""
    code = (
        "import sys, kuma.dp.run\n"
        "heavy = ('pydantic', 'google.protobuf', 'structlog', 'cryptography', 'httpx2', 'kuma.cp', 'kuma.envoy_api')\n"
        "print([m for m in heavy if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"

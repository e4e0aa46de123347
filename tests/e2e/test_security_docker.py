"""The commands of docs/docker.md, and the files that images are built from, as far as both work without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness.api import Api
from tests.e2e.harness.container import CONTAINER_ID, docker_for, published
from tests.e2e.harness.dockerfile import Dockerfile, context
from tests.e2e.harness.kumactl import Kumactl
from tests.e2e.harness.namespaces import Network, NoNetwork
from tests.e2e.harness.processes import ROOT, Program, command, environment
from tests.e2e.harness.waiting import wait_until
from tests.e2e.harness.walkthrough import blocks

PAGE = ROOT / "docs" / "docker.md"
FILES = sorted((ROOT / "deployments" / "docker").glob("*.Dockerfile"))
PROGRAMS = {"kuma-cp": ["run"], "kuma-dp": ["run"], "kumactl": ["--help"]}
PORTS = {"kuma-cp": {"5678", "5680", "5681", "5682"}, "kuma-dp": set(), "kumactl": set()}
DEBIAN = {"ca-certificates", "python3", "python3-venv", "wget"}
"""Packages of Debian 12 that the files may name."""

LITERAL = r"""
docker ps # copy kuma-cp container id

export KUMA_CP_CONTAINER_ID='...'

TOKEN=$(bash -c "docker exec -it $KUMA_CP_CONTAINER_ID wget -q -O - http://localhost:5681/global-secrets/admin-user-token" | jq -r .data | base64 -d)

kumactl config control-planes add \
 --name my-control-plane \
 --address http://localhost:5681 \
 --auth-type=tokens \
 --auth-conf token=$TOKEN \
 --skip-verify
"""  # noqa: E501 - it is to be found as it stands
"""What Kuma's own page on standalone deployments tells its readers to type."""


def missing_tools(*names: str) -> str:
    """Why a test cannot run; empty when it can."""
    lacking = [name for name in names if shutil.which(name) is None]
    return f"{', '.join(lacking)} not installed (see packages.txt)" if lacking else ""


@pytest.fixture
def network() -> Iterator[Network]:
    """The container (near) and the machine it runs on (far)."""
    try:
        made = Network()
    except NoNetwork as error:
        pytest.skip(str(error))
    try:
        yield made
    finally:
        made.close()


def start(network: Network, folder: Path, program: str, settings: dict[str, str]) -> Program:
    """kuma-cp in the container, as its image starts it: default ports, state in the volume."""
    image = Dockerfile.read(ROOT / "deployments" / "docker" / "kuma-cp.Dockerfile")
    started = Program(
        [*network.near.prefix, program, *image.arguments],
        log=folder / "kuma-cp.log",
        env=environment(folder, {"KUMA_GENERAL_WORK_DIR": str(folder / "volume"), **settings}),
    )
    diagnostics = Api(5680, open=network.near.open)

    def ready() -> bool:
        assert started.running, started.tail()
        return diagnostics.request("GET", "/ready").status == 200

    wait_until(ready, "kuma-cp is ready", explain=started.tail)
    return started


def typed(script: str, network: Network, folder: Path) -> subprocess.CompletedProcess[str]:
    """What happens when a script is typed on the machine, with its folder as home."""
    env = environment(folder, {})
    env["PATH"] = os.pathsep.join((str(folder / "docker"), env["PATH"]))
    shell = [*network.far.prefix, "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(shell, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(180)
@pytest.mark.skipif(bool(missing_tools("jq", "wget")), reason=missing_tools("jq", "wget"))
def test_the_commands_of_the_page_make_an_administrator(network: Network, tmp_path: Path):
    """Word by word, over the published port and over HTTPS; before them the caller at that port is a stranger."""
    docker_for(network, tmp_path / "docker")
    script = "\n".join(block.text for block in blocks(PAGE.read_text()) if "docker" in block.marks)
    script = script.replace("KUMA_CP_CONTAINER_ID='...'", f"KUMA_CP_CONTAINER_ID='{CONTAINER_ID}'")
    kuma_cp = start(network, tmp_path, shutil.which("kuma-cp", path=_scripts()) or command("kuma-cp")[0], {})
    try:
        with published(network, 5681, 5682):
            before = Kumactl(tmp_path, {}, network.far.prefix).run("get", "global-secrets")
            assert before.code == 1
            assert "Access Denied" in before.err
            assert "mesh-system:anonymous" in before.err

            done = typed(script, network, tmp_path)
            assert done.returncode == 0, done.stderr
            assert CONTAINER_ID in done.stdout
            assert 'added Control Plane "my-control-plane"' in done.stdout
            assert "admin-user-token" in done.stdout
            assert done.stdout.splitlines()[-1].count(".") == 2

            over_https = script.replace("http://localhost:5681 \\", "https://localhost:5682 --overwrite \\")
            assert over_https != script
            again = typed(over_https, network, tmp_path)
            assert again.returncode == 0, again.stderr
            assert "admin-user-token" in again.stdout
    finally:
        kuma_cp.close()


def _scripts() -> str:
    return sysconfig.get_path("scripts")


def test_the_page_has_the_commands_as_kumas_page_has_them():
    """Its readers type what they know."""
    text = "\n".join(block.text for block in blocks(PAGE.read_text()) if "docker" in block.marks)

    assert [command for command in LITERAL.strip().split("\n\n") if command not in text] == []
    assert '--network="host"' in PAGE.read_text()


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_an_image_is_small_in_what_it_trusts_and_may(path: Path):
    """A pinned base, few packages, no root, one program with its default, only ports that it serves."""
    file = Dockerfile.read(path)
    program = path.name.removesuffix(".Dockerfile")

    assert {stage.base for stage in file.stages} == {"debian:12.11-slim"}
    assert file.packages <= DEBIAN
    assert "wget" in file.packages or program != "kuma-cp"
    assert not {"curl", "sudo"} & file.packages
    assert file.user == "5678:5678"
    assert (file.entry_point, file.arguments) == ([program], PROGRAMS[program])
    assert file.ports == PORTS[program]
    assert file.stages[0].text == Dockerfile.read(FILES[0]).stages[0].text, "all are built alike"
    assert not re.search(r"(?i)(token|password|secret)=", path.read_text())
    assert "ADD" not in file.words
    assert f"-f deployments/docker/{path.name} -t {program} ." in path.read_text()


def test_there_is_a_file_for_each_program():
    """And no other."""
    assert [path.name for path in FILES] == [f"{program}.Dockerfile" for program in sorted(PROGRAMS)]


@pytest.mark.skipif(shutil.which("apt-cache") is None, reason="this system has no apt-cache")
def test_the_packages_exist_in_debian():
    """Where this system knows Debian's packages."""
    known = {
        name: subprocess.run(["apt-cache", "show", name], capture_output=True, timeout=60, check=False).returncode == 0
        for name in sorted(DEBIAN)
    }
    if not any(known.values()):
        pytest.skip("apt-cache knows no packages here: apt-get update was never run")
    assert [name for name, found in known.items() if not found] == []


@pytest.mark.timeout(900)
@pytest.mark.skipif(bool(missing_tools("jq", "wget")), reason=missing_tools("jq", "wget"))
def test_what_an_image_installs_works(network: Network, tmp_path: Path):
    """The same files, the same installation, the entry point, and the page's wget line within the container."""
    source = tmp_path / "source"
    copied = context(ROOT, source)
    assert {path.parts[0] for path in copied} == {"LICENSE", "README.md", "build", "pyproject.toml", "src"}
    build = Dockerfile.read(ROOT / "deployments" / "docker" / "kuma-cp.Dockerfile").stages[0]
    [install] = [line for line in build.runs if "pip install" in line]
    install = install.replace("/opt/kuma", str(tmp_path / "opt")).replace("/source", str(source))
    started = time.monotonic()
    done = subprocess.run(
        ["bash", "-e", "-c", install.replace("--no-cache-dir ", "")],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", str(tmp_path))},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, f"after {time.monotonic() - started:.0f} s\n{done.stdout[-2000:]}{done.stderr[-2000:]}"

    programs = tmp_path / "opt" / "bin"
    for program, arguments in (("kuma-cp", "version"), ("kuma-dp", "version"), ("kumactl", "--help")):
        assert subprocess.run([programs / program, arguments], capture_output=True, timeout=60, check=True).stdout
    # Of this tree nothing may help: the installed files have to be complete.
    kuma_cp = start(network, tmp_path, str(programs / "kuma-cp"), {"PYTHONPATH": ""})
    try:
        wget = "wget -q -O - http://localhost:5681/global-secrets/admin-user-token | jq -r .data | base64 -d"
        assert wget.split(" | ", maxsplit=1)[0] in PAGE.read_text()
        read = subprocess.run(
            [*network.near.prefix, "bash", "-c", wget], capture_output=True, text=True, timeout=30, check=True
        )
        assert read.stdout.count(".") == 2
        assert kuma_cp.terminate() == 0
    finally:
        kuma_cp.close()

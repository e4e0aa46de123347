"""Who changed what, and going back: as somebody does it at night, with real proxies and real secrets."""

from __future__ import annotations

import base64
import json
import os
import pty
import secrets
import select
import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.documents import builtin, permission
from tests.e2e.harness.kumactl import Kumactl
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.processes import ROOT, command, environment
from tests.e2e.harness.waiting import wait_until
from tests.e2e.harness.walkthrough import Shell, walk

TIMEOUT = """
type: MeshTimeout
mesh: {mesh}
name: everybody
spec:
  to:
  - targetRef: {{kind: Mesh}}
    default: {{http: {{requestTimeout: {seconds}s}}}}
"""


QUESTION = b"Do it? [y/N]: "
PATIENCE = 2.0
MOST_TYPED = 5


def entries(kumactl: Kumactl, *flags: str) -> list[dict[str, str]]:
    """What the history lists, as a script reads it."""
    head, *lines = kumactl("history", *flags).split("\n\n")[0].splitlines()
    return [dict(zip(head.split(), line.split(), strict=True)) for line in lines]


def answers(port: int, status: int) -> bool:
    """Whether a call gets this answer."""
    return clients.http1_answer(port).status == status


def test_a_change_that_broke_the_mesh_is_found_and_taken_back(lab: Lab):
    """The list says who and when, the difference what, and the rollback lets the calls through again."""
    kumactl = lab.control_plane.kumactl
    lab.mesh(documents.mesh("night", builtin("ca-1")) + "---\n" + permission("night", "everybody"))
    kumactl.apply(TIMEOUT.format(mesh="night", seconds=9))
    lab.service("backend-1", lab.http("backend-1"), "http", service="backend", mesh="night").start()
    caller = lab.proxy("caller", mesh="night", calls=["backend"]).start()
    port = caller.outbound("backend")
    wait_until(lambda: answers(port, 200), "the service answers")
    good = int(entries(kumactl, "-m", "night")[0]["REVISION"])
    proxies = {one["name"] for one in lab.control_plane.api.get("/meshes/night/dataplanes")["items"]}

    kumactl.apply(permission("night", "everybody", action="Deny"))
    kumactl("delete", "meshtimeout", "everybody", "-m", "night")
    wait_until(lambda: answers(port, 403), "calls are denied")

    deleted, denied = entries(kumactl, "-m", "night", "--since", "1h", "--limit", "2")
    assert (denied["ACTION"], denied["KIND"], denied["NAME"]) == ("update", "MeshTrafficPermission", "everybody")
    assert (deleted["ACTION"], deleted["KIND"]) == ("delete", "MeshTimeout")
    assert {one["USER"] for one in (deleted, denied)} == {"mesh-system:admin"}
    assert {one["ADDRESS"] for one in (deleted, denied)} == {"127.0.0.1"}
    what = kumactl("history", "diff", denied["REVISION"])
    assert ("-      action: Allow" in what, "+      action: Deny" in what) == (True, True)
    since = kumactl("history", "diff", str(good), "now", "-m", "night")
    assert since.count("\n--- ") + since.startswith("--- ") == 2

    done = kumactl.run("rollback", str(good), "-m", "night", "--yes", "--wait")

    assert done.code == 0, done.err
    assert "+      action: Allow" in done.out
    assert f"rolled back to revision {good} as revision " in done.out
    assert "proxies have the change" in done.out
    assert "changes 1 and creates 1" in done.err or "creates 1 and changes 1" in done.err
    wait_until(lambda: answers(port, 200), "the service answers again")
    assert "everybody" in kumactl("get", "meshtimeouts", "-m", "night")
    assert kumactl("history", "diff", str(good), "now", "-m", "night") == ""
    assert {one["name"] for one in lab.control_plane.api.get("/meshes/night/dataplanes")["items"]} == proxies


def test_a_mesh_that_was_deleted_comes_back_for_its_proxies(lab: Lab):
    """Their tokens hold and the authority is the old one: they join as if nothing had happened."""
    kumactl = lab.control_plane.kumactl
    lab.mesh(documents.mesh("lost", builtin("ca-1")) + "---\n" + permission("lost", "everybody"))
    backend = lab.service("backend-1", lab.http("backend-1"), "http", service="backend", mesh="lost")
    caller = lab.proxy("caller", mesh="lost", calls=["backend"])
    authority = lab.control_plane.api.get("/meshes/lost/secrets/lost.ca-builtin-cert-ca-1")["data"]
    kumactl("delete", "mesh", "lost")
    before = int(next(one for one in entries(kumactl, "-m", "lost") if one["ACTION"] == "issue")["REVISION"])

    told = kumactl.run("rollback", str(before), "mesh", "lost", "--yes")
    everything = kumactl.run("rollback", str(before), "-m", "lost", "--yes")

    assert (told.code, everything.code) == (0, 0), told.err + everything.err
    assert lab.control_plane.api.get("/meshes/lost/secrets/lost.ca-builtin-cert-ca-1")["data"] == authority
    backend.start()
    caller.start()
    wait_until(lambda: answers(caller.outbound("backend"), 200), "the service answers")


def ask(control_plane: ControlPlane, answer: str, *arguments: str) -> tuple[int, str]:
    """
    Run kumactl on a terminal of its own, and type an answer when it asks; exit code and all that it showed.

    Who gets no reaction types again: Python misses a Ctrl-C in the very moment in which it begins to read a line.
    """
    ours, its = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command("kumactl"), *arguments],
        env=environment(control_plane.home, {}),
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown, typed = b"", 0
    try:
        while typed < MOST_TYPED:
            if select.select([ours], [], [], PATIENCE)[0]:
                shown += os.read(ours, 4096)
                if QUESTION not in shown or typed:
                    continue
            elif QUESTION not in shown:
                continue
            typed += 1
            os.write(ours, answer.encode())
    except OSError:  # Linux's way to say that the other end is closed and all was read
        return process.wait(30), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    raise AssertionError(shown)


@pytest.mark.timeout(180)
def test_on_a_terminal_it_asks(lab: Lab):
    """Only "yes" is yes; nothing happens otherwise, also when one walks away."""
    kumactl = lab.control_plane.kumactl
    kumactl.apply(documents.mesh("asked"))
    kumactl.apply(TIMEOUT.format(mesh="asked", seconds=7))
    good = entries(kumactl, "-m", "asked")[0]["REVISION"]
    kumactl.apply(TIMEOUT.format(mesh="asked", seconds=8))
    rollback = ("rollback", good, "MeshTimeout", "everybody", "-m", "asked")

    def timeout() -> str:
        return str(lab.control_plane.api.get("/meshes/asked/meshtimeouts/everybody")["spec"])

    for answer, code in (("n\n", 1), ("\n", 1), ("\x03", 130), ("\x04", 130)):
        ended, shown = ask(lab.control_plane, answer, *rollback)
        assert (ended, "+        requestTimeout: 7s" in shown, "Do it?" in shown) == (code, True, True), shown
        assert "8s" in timeout()
    script = kumactl.run(*rollback)
    assert (script.code, "8s" in timeout()) == (1, True)
    assert "there is no terminal to ask on; with --yes" in script.err

    ended, shown = ask(lab.control_plane, "y\n", *rollback)
    assert (ended, "7s" in timeout()) == (0, True), shown


def test_history_outlives_a_control_plane_that_was_killed(lab: Lab):
    """What was acknowledged is listed after ``kill -9``, and one can go back past it."""
    control_plane = lab.own_control_plane()
    kumactl = control_plane.kumactl
    for seconds in range(1, 5):
        kumactl.apply(TIMEOUT.format(mesh="default", seconds=seconds))
    newest = int(entries(kumactl)[0]["REVISION"])
    control_plane.kill()
    control_plane.start()

    assert [int(one["REVISION"]) for one in entries(kumactl)] == [newest - n for n in range(4)]
    refused = kumactl.run("rollback", str(newest + 10_000), "--yes")
    assert (refused.code, f"does not exist yet: the newest is {newest}" in refused.err) == (1, True)
    assert kumactl.run("rollback", str(newest - 2), "--yes").code == 0


@pytest.mark.timeout(120)
def test_the_value_of_a_secret_is_nowhere(lab: Lab, tmp_path: Path):
    """Made, changed, deleted and brought back: not in history, differences, answers, the file of the store, or logs."""
    control_plane = lab.own_control_plane()
    for component in ("api-server", "kuma-cp", "insights", "meshes", "registration"):
        put = control_plane.diagnostics.put("/logging", {"component": component, "level": "debug"})
        assert put.status < 300, put.text
    kumactl = control_plane.kumactl
    clear = [secrets.token_hex(24) for _ in range(3)]
    for value in clear:
        data = base64.b64encode(value.encode()).decode()
        kumactl.apply(f"type: Secret\nmesh: default\nname: planted\ndata: {data}\n")
    token = kumactl("generate", "user-token", "--name", "eve", "--group", "ops", "--valid-for", "1h")
    kumactl("delete", "secret", "planted")
    made = int(entries(kumactl, "--name", "planted")[-1]["REVISION"])
    said = [
        kumactl("history", "--all"),
        kumactl("history", "--all", "-o", "json"),
        *[
            kumactl("history", "diff", one["REVISION"], "-o", form)
            for one in entries(kumactl)
            for form in ("json", "table")
        ],
        kumactl("history", "diff", "0", "now", "--all"),
        kumactl("history", "diff", str(made), str(made + 1), "-o", "yaml"),
        control_plane.api.request("GET", "/_changes?all=true").text,
        control_plane.api.request("GET", "/_changes/difference?from=0&all=true").text,
        control_plane.api.request("GET", "/config").text,
        control_plane.diagnostics.request("GET", "/metrics").text,
        str(kumactl.run("rollback", str(made), "secret", "planted", "--yes")),
        str(kumactl.run("rollback", str(made + 1), "secret", "planted", "--yes")),
        str(kumactl.run("rollback", str(made - 1), "--dry-run")),
    ]
    assert f"as written by revision {made}" in "".join(said)
    shown = kumactl("get", "secret", "planted", "-o", "json")
    assert json.loads(shown)["data"] == base64.b64encode(clear[1].encode()).decode()

    work = control_plane.directory / "work"
    running = {path.name: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    assert control_plane.stop() == 0
    stopped = {path.name: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    log = control_plane.program.log()

    assert "kuma.db" in running
    needles = [form for value in clear for form in (value, base64.b64encode(value.encode()).decode())]
    needles += [token.split(".")[2]]
    for needle in needles:
        assert not [text[:80] for text in said if needle in text]
        assert needle not in log
        assert not [
            name for files in (running, stopped) for name, content in files.items() if needle.encode() in content
        ]
    assert any(b"planted" in content for content in stopped.values())


@pytest.mark.timeout(240)
def test_walk_through_of_the_page_on_history(shell: Shell):
    """Every command works, and shows what the page says it shows."""
    walk(shell, ROOT / "docs" / "history.md")

"""The program as a shell sees it: exit codes, streams, pipes, signals, start-up."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from kuma.ctl import settings
from kuma.ctl.cli import root
from kuma.ctl.flags import Group
from kuma.ctl.session import Session

RUN = [sys.executable, "-c", "from kuma.ctl.cli import main; main()"]


def _environment(home) -> dict[str, str]:
    source = os.pathsep.join(path for path in sys.path if path)
    return {"HOME": str(home), "PYTHONPATH": source, "PATH": os.environ["PATH"]}


def _run(home, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *args], env=_environment(home), capture_output=True, text=True, timeout=30, check=False
    )


def _configured(home, url: str, **fields) -> str:
    """A configuration file with one control plane."""
    file = home / "config"
    settings.save(file, settings.Settings().with_control_plane(settings.ControlPlane("a", url, **fields)))
    return str(file)


def test_help_lists_every_verb(bare):
    """And goes to stdout with exit code 0, with a flag, a word or nothing."""
    for args in (["--help"], ["-h"], [], ["help"]):
        result = bare(*args)
        assert (result.exit_code, result.stderr) == (0, "")
        for verb in ("apply", "completion", "config", "delete", "generate", "get", "inspect", "version"):
            assert f"\n  {verb} " in result.stdout
    assert "Usage: kumactl get mesh [OPTIONS] NAME" in bare("help", "get", "mesh").stdout
    assert bare("help", "gets").stderr.startswith('Error: unknown help topic "gets"')
    assert bare("get").exit_code == 0


def test_every_command_has_help(bare):
    """Each with a sentence and the flags that hold everywhere."""

    def walk(group, path):
        context = group.make_context("kumactl", [], resilient_parsing=True)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            yield [*path, name]
            if isinstance(command, Group):
                yield from walk(command, [*path, name])

    seen = 0
    for path in walk(root, []):
        result = bare(*path, "--help")
        assert result.exit_code == 0, path
        assert "--config-file" in result.stdout, path
        assert f"Usage: kumactl {' '.join(path)}" in result.stdout
        seen += 1
    assert seen > 40


@pytest.mark.parametrize(
    "args, message",
    [
        (["foo"], 'unknown command "foo" for "kumactl"; see "kumactl --help"'),
        (["aply"], 'unknown command "aply" for "kumactl"; did you mean apply?; see "kumactl --help"'),
        (["--foo"], 'unknown flag: --foo; see "kumactl --help"'),
        (["get", "meshes", "--ouput", "x"], 'unknown flag: --ouput; did you mean --output?; see "kumactl get meshes'),
        (["get", "meshes", "extra"], "Got unexpected extra argument (extra)"),
        (["get", "meshes", "--api-timeout", "5"], '--api-timeout: time: missing unit in duration "5"; write it like'),
        (["--log-level", "all", "get", "meshes"], "--log-level: 'all' is not one of 'off', 'info', 'debug'"),
        (["get", "meshes", "--config-file"], "Option '--config-file' requires an argument"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_one(bare, args, message):
    """On stderr, with the help to look at."""
    result = bare(*args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


def test_flags_may_stand_anywhere(kumactl, cp, home):
    """Before the verb, between, after; the last one wins."""
    cp.answer("GET", "/meshes", {"items": []})
    config = str(home / ".kumactl" / "config")
    for args in (
        ["--config-file", config, "get", "meshes"],
        ["get", "--config-file", config, "meshes"],
        ["get", "meshes", "--config-file", config],
        ["--config-file", "/nonexistent", "get", "meshes", "--config-file", config],
    ):
        assert kumactl(*args).exit_code == 0, args
    assert kumactl("-o", "yaml", "get", "meshes").stderr.startswith("Error: unknown flag: -o")


def test_requests_can_be_watched(kumactl, cp):
    """On stderr, without headers or tokens."""
    cp.answer("GET", "/meshes", {"items": []})
    stderr = kumactl("get", "meshes", "--log-level", "debug").stderr
    assert stderr.splitlines()[1].startswith(f"GET {cp.url}/meshes 200 ")


def test_a_bug_is_no_traceback(kumactl, cp):
    """The kind of failure is named, its content is not."""

    def broken() -> float:
        raise KeyError("geheim")

    cp.answer("GET", "/meshes", {"items": []})
    result = CliRunner().invoke(root, ["get", "meshes"], obj=Session(clock=broken))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: kumactl failed unexpectedly (KeyError); please report this with the command\n"


def test_tokens_never_appear_in_errors(cp, home):
    """Whatever goes wrong, with every verb."""
    config = _configured(home, cp.url, auth_type="tokens", auth_conf={"token": "geheimes-token"})
    for path in ("/", "/meshes", "/mesh-insights", "/meshes/x"):
        cp.refuse("GET", path, 401, "Invalid authentication data", "Unauthenticated")
    for args in (
        ["get", "meshes"], ["get", "mesh", "x"], ["delete", "mesh", "x"], ["inspect", "meshes"], ["version"],
        ["generate", "user-token", "--name", "a", "--valid-for", "1h"],
        ["config", "control-planes", "add", "--name", "b", "--address", cp.url],
    ):  # fmt: skip
        result = _run(home, *args, "--config-file", config, "--log-level", "debug")
        assert "Invalid authentication data (Unauthenticated)" in result.stderr or "404" in result.stderr
        assert "geheim" not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr


def test_a_closed_pipe_is_quiet(cp, home):
    """As in ``kumactl get meshes -o yaml | head -1``."""
    cp.answer("GET", "/meshes", {"items": [{"name": f"mesh-{number}" * 20} for number in range(5000)]})
    config = _configured(home, cp.url)
    command = " ".join(f"'{part}'" for part in [*RUN, "get", "meshes", "-o", "json", "--config-file", config])
    result = subprocess.run(  # noqa: S602 - a shell's pipe is what is tested
        f"{command} | head -1",
        shell=True,
        env=_environment(home),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert (result.stdout, result.stderr) == ("{\n", "")


def test_output_may_be_closed(cp, home):
    """A daemon's script may have no stdout at all."""
    cp.answer("GET", "/meshes", {"items": []})
    command = [*RUN, "get", "meshes", "--config-file", _configured(home, cp.url)]
    result = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command],
        env=_environment(home),
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_characters_that_cannot_be_shown_or_sent(cp, home):
    """A poor terminal gets an escape, an argument in another encoding a sentence."""
    cp.answer("GET", "/meshes/x", {"type": "Mesh", "name": "ü€"})
    config = _configured(home, cp.url)
    for name, code, text in (("x", 0, b"\\u20ac"), (b"\xff", 1, b"Error: an argument is not UTF-8 text")):
        result = subprocess.run(
            [*RUN, "get", "mesh", name, "--config-file", config],
            env={**_environment(home), "PYTHONIOENCODING": "latin-1"},
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert result.returncode == code
        assert text in result.stdout + result.stderr


def test_a_full_disk_is_said(home):
    """Output that cannot be written is a failure."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        result = subprocess.run(
            [*RUN, "--help"],
            env=_environment(home),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "Error: cannot write the output: No space left on device\n")


def test_ctrl_c_is_quiet(home):
    """Exit code 130 while waiting for an answer, nothing but an empty line on the terminal."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = _configured(home, f"http://127.0.0.1:{server.getsockname()[1]}")
        process = subprocess.Popen(
            [*RUN, "get", "meshes", "--config-file", config],
            env=_environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        server.settimeout(30)
        peer, _ = server.accept()
        with peer:
            assert peer.recv(4096).startswith(b"GET / HTTP/1.1")
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr.strip()) == (130, "", "")


def test_starting_loads_little(cp, home):
    """Help loads no HTTP client; a small command loads neither schemas nor cryptography."""
    cp.answer("GET", "/meshes", {"items": []})
    config = _configured(home, cp.url)
    report = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "

    def loaded(*args: str) -> set[str]:
        command = [sys.executable, "-c", f"{report}{RUN[2]}", *args]
        done = subprocess.run(command, env=_environment(home), capture_output=True, text=True, timeout=30, check=True)
        return set(done.stderr.split())

    heavy = {"pydantic", "cryptography", "jwt", "httpx2", "asyncio", "durationpy"}
    assert not loaded("--help") & (heavy | {"http.client", "yaml", "kuma.core.model.kinds", "json"})
    assert not loaded("get", "meshes", "--config-file", config) & heavy

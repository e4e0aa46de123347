from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kuma
from kuma.dp.options import OPTIONS

SOURCE = Path(kuma.__file__).parents[1]


def _kuma_dp(*args, env=None, stdin=None):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("KUMA_")}
    return subprocess.run(
        [sys.executable, "-c", "from kuma.dp.cli import main; main()", *args],
        env=clean | {"PYTHONPATH": str(SOURCE), "COLUMNS": "120"} | (env or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_version():
    """The version Kuma's users compare; in detail also our own."""
    short = _kuma_dp("version")
    detailed = _kuma_dp("version", "-a")

    assert short.stdout.startswith("Kuma: ")
    assert [line.split(":")[0] for line in detailed.stdout.splitlines()] == [
        "Product",
        "Version",
        "Git Tag",
        "Git Commit",
        "Build Date",
        "Implementation",
    ]


def test_help_names_every_flag_and_variable():
    """One place to look."""
    text = _kuma_dp("run", "--help").stdout

    for option in OPTIONS:
        for flag in option.flags:
            assert flag in text
            assert not option.env or option.env in text


def test_help_loads_no_server():
    """It must be quick: neither asyncio nor TLS is needed to print a text."""
    code = (
        "import sys\n"
        "from kuma.dp.cli import kuma_dp\n"
        "kuma_dp.main(['run', '--help'], standalone_mode=False)\n"
        "print([m for m in ('asyncio', 'ssl', 'yaml', 'pydantic', 'google.protobuf', 'kuma.cp') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "args, env, words",
    [
        (["run"], {}, ".Name must be non-empty"),
        (["run", "--nonsense"], {}, "No such option"),
        (["nonsense"], {}, "No such command"),
        (["run", "--transparent-proxy"], {}, "not available yet"),
        (["run", "-d", "/nowhere/dp.yaml"], {}, "/nowhere/dp.yaml"),
        (["run", "--name=a", "--mesh=b"], {"KUMA_DATAPLANE_DRAIN_TIME": "x"}, "KUMA_DATAPLANE_DRAIN_TIME"),
        (["run", "--name=a", "--mesh=b", "--dataplane-token=x"], {}, "--dataplane-token"),
        (["run", "--name=a", "--mesh=b", "--ca-cert-file=/nowhere/ca"], {}, "/nowhere/ca"),
        (["run", "--name=a", "--mesh=b", "--binary-path=/nowhere/envoy"], {}, "/nowhere/envoy"),
        (["run", "--name=a", "--mesh=b", "--log-output-path=/nowhere/log"], {}, "--log-output-path"),
        (["run", "--log-level=loud"], {}, "--log-level"),
        (["wait", "--url=http://example.com/ready"], {}, "--url"),
        (["wait", "--timeout=x"], {}, "--timeout"),
        (["wait", "--url=http://localhost:1/ready", "--timeout=50ms"], {}, "timeout occurred while waiting"),
    ],
)
def test_errors_are_one_sentence_and_exit_code_1(args, env, words):
    """No trace of the program's inside reaches the user."""
    done = _kuma_dp(*args, env=env)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_definition_from_standard_input_by_kumas_short_form():
    """``-d=-`` is what Kuma's tools accept; the name in the refusal shows that it was read."""
    done = _kuma_dp("run", "-d=-", "-v=n=Web", stdin="type: Dataplane\nmesh: default\nname: {{ n }}")

    assert "standard input: name 'Web'" in done.stderr


def test_flags_of_the_log_stand_where_the_user_puts_them(tmp_path: Path):
    """Before or after the command's name."""
    for args in (["--log-output-path"], []), ([], ["--log-output-path"]):
        file = tmp_path / f"{len(args[0])}.log"
        before, after = ([*part, str(file)] if part else [] for part in args)
        _kuma_dp(*before, "run", *after, "--name=a", "--mesh=b", "--binary-path=/nowhere", "--dns-enabled")

        assert "--dns-enabled" in file.read_text()

"""The pages that are read when something is wrong: their commands, executed as their reader would type them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

import pytest

from tests.e2e.harness.processes import ROOT
from tests.e2e.harness.walkthrough import Block, Shell, blocks, walk

README = ROOT / "README.md"
INSPECT, ERRORS, DATA_PLANE, CONFIGURATION = (
    ROOT / "docs" / f"{name}.md" for name in ("inspect", "errors", "data-plane", "configuration")
)
_COMMAND = re.compile(r"`((?:kumactl|curl|ss) [^`]+)`")

SLOW_DB = """
cat > slow-db.yaml <<'END'
type: MeshTimeout
mesh: default
name: slow-db
spec:
  targetRef: {kind: Dataplane, name: web-1}
  to: [{targetRef: {kind: MeshService, name: db}, default: {http: {requestTimeout: 1s}}}]
END
kumactl apply -f slow-db.yaml
"""
BROKEN_LUA = """
kumactl apply -f - <<'END'
type: MeshProxyPatch
mesh: default
name: lua
spec:
  targetRef: {kind: Dataplane, name: web-1}
  default:
    appendModifications:
      - httpFilter:
          operation: AddFirst
          match: {origin: inbound}
          value: |
            name: envoy.filters.http.lua
            typedConfig:
              '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              defaultSourceCode: {inlineString: "function ("}
END
"""
DATAPLANE = """
cat > dataplane.yaml <<'END'
type: Dataplane
mesh: default
name: api-1
networking:
  address: 127.0.0.1
  inbound: [{port: 8002, servicePort: 7002, tags: {kuma.io/service: api, kuma.io/protocol: http}}]
END
"""
SETTINGS = """
mkdir run && cd run && export KUMA_GENERAL_WORK_DIR=$PWD
echo 'mode: standalone' > kuma-cp.yaml
"""
SHOWN = {
    "kumactl inspect dataplane web-1 --type=config": '"inbound:127.0.0.1:8001"',
    "kumactl inspect dataplane web-1 --type=config-dump": "dynamic_listeners",
    "kumactl inspect dataplane web-1": "slow-db",
    "kumactl inspect meshtimeout slow-db": "web-1",
    "curl -s localhost:5681/meshes/default/dataplanes/web-1/_rules": "kri_mt_default_default__slow-db_",
    "kumactl inspect dataplane web-1 --type=config --shadow --include=diff": '"diff": [',
    "kumactl apply --wait -f slow-db.yaml": "2 of 2 proxies have the change",
}
"""What the commands in the table of docs/inspect.md show of a mesh with the two services of the README."""
TABLED = {
    "kumactl inspect dataplane <server> --type=policies": "MeshTimeout",
    "kumactl inspect dataplane <caller> --type=clusters": "api::",
    "kumactl inspect services": "web       Online",
    "kumactl inspect dataplanes": "CERT BACKEND",
    "kumactl history --since 24h": "lua",
    "kumactl history diff R now": "+++ MeshProxyPatch default/lua now",
    "kumactl rollback R": "rolled back to revision",
    "kumactl apply --wait -f FILE": "2 of 2 proxies have the change",
    "ss -ltnp": ":5681",
}
"""What the commands in the tables of docs/errors.md show of it, once a policy is in it that Envoy refuses."""
FILLED_IN = {
    "<server>": "api-1",
    "<caller>": "web-1",
    " R": " $(kumactl history --name slow-db | awk 'NR == 2 {print $1}')",
    "rollback": "rollback --yes",
    "FILE": "slow-db.yaml",
}
"""What the reader puts where the table leaves a gap; ``R`` is the last revision that was right."""


def typed(shell: Shell, text: str) -> str:
    """What is shown of a command, which must not fail."""
    code, output = shell.execute(Block("sh", frozenset(), f"{text}\n", 0))
    assert code == 0, f"{text}\n{output}\n{shell.explain()}"
    return output


def walk_tables(shell: Shell, page: Path, shown: Mapping[str, str]) -> None:
    """Execute the commands in a page's tables, in order; each of them shows what it is read for."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    commands = [command for line in lines for command in _COMMAND.findall(line)]
    assert set(commands) == shown.keys()
    for command in commands:
        text = reduce(lambda text, gap: text.replace(gap, FILLED_IN[gap]), FILLED_IN, command)
        output = typed(shell, text)
        assert shown[command] in output, f"{text}\n{output[-2000:]}"


@pytest.mark.timeout(240)
def test_what_is_typed_to_find_out_why(shell: Shell):
    """Every question of docs/inspect.md has its answer, and docs/errors.md finds what Envoy refused."""
    walk(shell, README, until="### 4. ")
    typed(shell, SLOW_DB)

    walk_tables(shell, INSPECT, SHOWN)

    typed(shell, BROKEN_LUA)
    walk(shell, INSPECT)
    walk(shell, ERRORS)
    walk_tables(shell, ERRORS, TABLED)


@pytest.mark.timeout(120)
def test_what_is_typed_beside_an_application(shell: Shell):
    """docs/data-plane.md: a proxy joins, and is waited for."""
    walk(shell, README, until="### 2. ")
    typed(shell, DATAPLANE)

    walk(shell, DATA_PLANE)

    assert "api-1" in typed(shell, "kumactl inspect dataplanes")


@pytest.mark.timeout(120)
def test_what_is_typed_about_settings(shell: Shell, tmp_path: Path):
    """docs/configuration.md: a file of settings counts, and a copy made while kuma-cp runs is whole."""
    typed(shell, SETTINGS)

    walk(shell, CONFIGURATION)

    with sqlite3.connect(tmp_path / "home" / "run" / "copy.db") as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0


@pytest.mark.parametrize("page", [INSPECT, ERRORS, DATA_PLANE, CONFIGURATION], ids=lambda page: page.name)
def test_every_command_of_these_pages_is_typed_by_a_test(page: Path):
    """A command that nobody executes cannot slip in."""
    assert [
        one.text for one in blocks(page.read_text()) if one.language == "sh" and "walkthrough" not in one.marks
    ] == []

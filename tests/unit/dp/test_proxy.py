from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.dp.proxy import MAX_DEFINITION_BYTES, Proxy, described, parse
from kuma.dp.settings import resolve

DATAPLANE = """
type: Dataplane
mesh: default
name: {{ name }}
networking:
  address: 127.0.0.1
  inbound: [{port: {{ port }}, tags: {kuma.io/service: web}}]
"""


def test_a_definition_is_filled_in_and_travels_as_json():
    """What the control plane gets is the rendered resource."""
    proxy = parse(DATAPLANE, "dp.yaml", {"name": "web-1", "port": "80"}, "dataplane")

    assert (proxy.mesh, proxy.name, proxy.type) == ("default", "web-1", "dataplane")
    assert json.loads(proxy.resource)["networking"]["inbound"][0]["port"] == 80


def test_each_run_can_be_told_from_others():
    """The control plane must not take the farewell of one proxy for that of another with its name."""
    one, other = (parse("type: Dataplane\nmesh: default\nname: web-1", "x", {}, "dataplane") for _ in range(2))

    assert one == other
    assert one.run != other.run


def test_json_is_as_good_as_yaml():
    """Both are accepted everywhere."""
    text = json.dumps({"type": "ZoneEgress", "name": "egress-1"})

    assert parse(text, "x", {}, "egress") == Proxy("", "egress-1", "egress", '{"type":"ZoneEgress","name":"egress-1"}')


def test_a_proxy_can_be_known_by_name_only():
    """Then the Dataplane is expected in the control plane."""
    proxy = described(resolve({"name": "web-1", "mesh": "default"}, {}))

    assert proxy == Proxy("default", "web-1", "dataplane", "")


def test_definition_from_a_file_and_from_standard_input(tmp_path: Path, monkeypatch):
    """``-`` is standard input, as everywhere."""
    text = DATAPLANE.replace("{{ name }}", "web-1").replace("{{ port }}", "80")
    (tmp_path / "dp.yaml").write_text(text)

    class Stdin:
        buffer = io.BytesIO(text.encode())

    monkeypatch.setattr(sys, "stdin", Stdin)

    assert described(resolve({"resource_path": "-"}, {})).name == "web-1"
    assert described(resolve({"resource_path": str(tmp_path / "dp.yaml"), "resource": "ignored"}, {})).name == "web-1"


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "expected one resource, found 0"),
        ("a\n---\nb", "found 2"),
        ("just text", "expected a resource"),
        ("type: ZoneEgress\nname: x", "--proxy-type=dataplane needs 'Dataplane'"),
        ("type: Dataplane\nmesh: default", "name ''"),
        ("type: Dataplane\nname: web-1", "mesh ''"),
        ("type: Dataplane\nname: Web\nmesh: default", "a-z 0-9"),
        ("type: Dataplane\nname: web\nmesh: a.b", "mesh 'a.b'"),
        ("type: Dataplane\nname: 7\nmesh: default", "put it in quotes"),
        ("type: [", "dp.yaml"),
        ("type: {{ x", "dp.yaml"),
        ("[" * 100000, "dp.yaml"),
        ("type: Dataplane\ntype: Dataplane", "dp.yaml"),
        ("a" * (MAX_DEFINITION_BYTES + 1), "dp.yaml"),
    ],
)
def test_other_texts_are_refused_with_their_place(text, words):
    """The refusal names the file and what is wrong in it."""
    with pytest.raises(ConfigInvalid, match=words) as refused:
        parse(text, "dp.yaml", {}, "dataplane")

    assert "dp.yaml" in str(refused.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b" " * (MAX_DEFINITION_BYTES + 1)])
def test_unreadable_files_are_refused(tmp_path: Path, content):
    """Missing, not text, too large."""
    path = tmp_path / "dp.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigInvalid, match=r"dp\.yaml"):
        described(resolve({"resource_path": str(path)}, {}))

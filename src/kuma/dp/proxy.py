"""Who this proxy is: read from the definition the user gives, or from name and mesh.

The definition is not judged here beyond what joining needs; the control plane validates it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from kuma.core.errors import BadRequest, ConfigInvalid, TooLarge
from kuma.core.model.template import render
from kuma.core.model.text import parse_documents
from kuma.dp.settings import Settings

RUN: Final = "kuma-dp.run"
"""The key of ``Proxy.run`` in the dynamic metadata, as in ``kuma.core.xds.node``, which is too heavy to load here."""
MAX_DEFINITION_BYTES: Final = 512 << 10
_KINDS: Final = {"dataplane": "Dataplane", "ingress": "ZoneIngress", "egress": "ZoneEgress"}
_NAME: Final = re.compile(r"[0-9a-z._-]{1,253}")
_MESH: Final = re.compile(r"[0-9a-z_-]{1,63}")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that wants to join; ``resource`` is its definition as JSON text, empty when only named."""

    mesh: str
    name: str
    type: str
    resource: str = ""
    run: str = field(default_factory=lambda: token_hex(8), compare=False)
    """Tells this run of kuma-dp from others of the same name."""


def described(settings: Settings) -> Proxy:
    """
    The proxy that the settings describe.

    Raises:
        ConfigInvalid: the definition cannot be read, or is not one.
    """
    if settings.resource_path:
        where = "standard input" if settings.resource_path == "-" else settings.resource_path
        return parse(_read(settings.resource_path), where, settings.variables, settings.proxy_type)
    if settings.resource:
        return parse(settings.resource, "--dataplane", settings.variables, settings.proxy_type)
    return _named(settings.mesh, settings.name, settings.proxy_type, "--name and --mesh")


def parse(text: str, where: str, variables: Mapping[str, str], proxy_type: str) -> Proxy:
    """
    The proxy that a definition describes; ``where`` is what errors call it.

    Raises:
        ConfigInvalid: not one resource of the right type with a name and, for a Dataplane, a mesh.
    """
    try:
        documents = parse_documents(render(text, variables, MAX_DEFINITION_BYTES))
    except (BadRequest, TooLarge) as error:
        raise ConfigInvalid(f"{where}: {error}") from error
    if len(documents) != 1:
        raise ConfigInvalid(f"{where}: expected one resource, found {len(documents)}")
    (resource,) = documents
    kind = _KINDS[proxy_type]
    if not isinstance(resource, Mapping):
        raise ConfigInvalid(f"{where}: expected a resource with the fields type, name and mesh")
    if resource.get("type") != kind:
        raise ConfigInvalid(f"{where}: type is {resource.get('type')!r}, but --proxy-type={proxy_type} needs {kind!r}")
    mesh = _text(resource, "mesh", where) if proxy_type == "dataplane" else ""
    proxy = _named(mesh, _text(resource, "name", where), proxy_type, where)
    return Proxy(proxy.mesh, proxy.name, proxy.type, json.dumps(resource, ensure_ascii=False, separators=(",", ":")))


def _named(mesh: str, name: str, proxy_type: str, where: str) -> Proxy:
    if not _NAME.fullmatch(name):
        raise ConfigInvalid(f"{where}: name {name[:253]!r} must have 1 to 253 of the characters a-z 0-9 . - _")
    if proxy_type != "dataplane":
        return Proxy("", name, proxy_type)
    if not _MESH.fullmatch(mesh):
        raise ConfigInvalid(f"{where}: mesh {mesh[:63]!r} must have 1 to 63 of the characters a-z 0-9 - _")
    return Proxy(mesh, name, proxy_type)


def _text(resource: Mapping[str, Any], field: str, where: str) -> str:
    value = resource.get(field, "")
    if value is None:
        raise ConfigInvalid(
            f"{where}: {field} is empty; if it is a {{{{ placeholder }}}}, give its value with "
            "--dataplane-var placeholder=value"
        )
    if not isinstance(value, str):
        raise ConfigInvalid(f"{where}: {field} must be a text; put it in quotes")
    return value


def _read(path: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_DEFINITION_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(MAX_DEFINITION_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise ConfigInvalid(f"--dataplane-file: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path}: not UTF-8 text") from error
    if len(data) > MAX_DEFINITION_BYTES:
        raise ConfigInvalid(f"{path}: over the limit of {MAX_DEFINITION_BYTES} bytes")
    return text

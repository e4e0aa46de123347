"""The file that remembers control planes (``~/.kumactl/config``), as Kuma's kumactl writes it.

Promises: written whole or not at all, readable by its owner only, keys sorted, empty fields left out; the snake_case
keys of old versions are readable; no error quotes what the file holds, because it may hold a token.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from kuma.core.errors import ConfigInvalid, MeshError
from kuma.core.model.text import dump_yaml, parse_document

DEFAULT_ADDRESS: Final = "http://localhost:5681"
TOKENS: Final = "tokens"
_RECREATE: Final = "fix it by hand, or move it away to start with an empty one"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """How to reach one control plane, and as whom."""

    name: str
    url: str
    ca_cert_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    auth_type: str = ""
    auth_conf: Mapping[str, str] = field(default_factory=dict, repr=False)
    skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Known control planes and the one in use; ``contexts`` maps a context to its control plane."""

    control_planes: tuple[ControlPlane, ...] = ()
    contexts: tuple[tuple[str, str], ...] = ()
    current: str = ""

    def active(self, context: str = "") -> ControlPlane | None:
        """The control plane behind a context, or behind the current one."""
        wanted = context or self.current
        name = dict(self.contexts).get(wanted, wanted if context else "")
        return next((cp for cp in self.control_planes if cp.name == name), None)

    def with_control_plane(self, control_plane: ControlPlane) -> Settings:
        """Added or replaced, and in use."""
        name = control_plane.name
        others = tuple(cp for cp in self.control_planes if cp.name != name)
        contexts = tuple(pair for pair in self.contexts if pair[0] != name)
        return Settings((*others, control_plane), (*contexts, (name, name)), name)

    def without_control_plane(self, name: str) -> Settings:
        """Removed with its contexts; if it was in use, the first context left is."""
        contexts = tuple(pair for pair in self.contexts if pair[1] != name)
        current = self.current
        if current not in dict(contexts):
            current = contexts[0][0] if contexts else ""
        return Settings(tuple(cp for cp in self.control_planes if cp.name != name), contexts, current)

    def switched_to(self, name: str) -> Settings | None:
        """In use from now on; ``None`` if there is no such control plane."""
        if not any(cp.name == name for cp in self.control_planes):
            return None
        context = next((c for c, cp in self.contexts if cp == name), "")
        if context:
            return replace(self, current=context)
        return replace(self, contexts=(*self.contexts, (name, name)), current=name)


DEFAULT: Final = Settings((ControlPlane("local", DEFAULT_ADDRESS),), (("local", "local"),), "local")


def default_path() -> Path:
    return Path.home() / ".kumactl" / "config"


def load(path: Path) -> Settings:
    """
    What the file says; a file that does not exist is created with the control plane of this machine.

    Raises:
        ConfigInvalid: the file cannot be read or understood.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return _created(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigInvalid(f"cannot read the configuration file {path}: {reason}; {_RECREATE}") from None
    try:
        return parse(text)
    except MeshError as error:
        raise ConfigInvalid(f"cannot understand the configuration file {path}: {error}; {_RECREATE}") from None


def _created(path: Path) -> Settings:
    # A home that cannot be written is no reason not to talk to the control plane of this machine.
    with suppress(ConfigInvalid):
        save(path, DEFAULT)
    return DEFAULT


def save(path: Path, settings: Settings) -> None:
    """
    Replace the file.

    Raises:
        ConfigInvalid: it cannot be written.
    """
    import tempfile

    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".config-")  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(dump_yaml(to_data(settings)))
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigInvalid(
            f"cannot write the configuration file {path}: {error.strerror}; name another one with --config-file"
        ) from None


def to_data(settings: Settings) -> dict[str, Any]:
    """The file's content as data, empty fields left out."""
    data = {
        "controlPlanes": [
            _without_empty({"name": cp.name, "coordinates": {"apiServer": _api_server(cp)}})
            for cp in settings.control_planes
        ],
        "contexts": [_without_empty({"name": name, "controlPlane": cp}) for name, cp in settings.contexts],
        "currentContext": settings.current,
    }
    return _without_empty(data)


def _api_server(cp: ControlPlane) -> dict[str, Any]:
    return _without_empty(
        {
            "url": cp.url,
            "caCertFile": cp.ca_cert_file,
            "clientCertFile": cp.client_cert_file,
            "clientKeyFile": cp.client_key_file,
            "headers": [{"key": key, "value": value} for key, value in cp.headers],
            "authType": cp.auth_type,
            "authConf": dict(cp.auth_conf),
            "skipVerify": cp.skip_verify,
        }
    )


def _without_empty(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value}


def parse(text: str) -> Settings:
    """
    Read the file's content.

    Raises:
        MeshError: it is not what kumactl writes; the text names the field, never a value.
    """
    root = _Fields(parse_document(text) or {}, "")
    return Settings(
        control_planes=tuple(_control_plane(item) for item in root.items("controlPlanes")),
        contexts=tuple((item.text("name"), item.text("controlPlane")) for item in root.items("contexts")),
        current=root.text("currentContext"),
    )


def _control_plane(item: _Fields) -> ControlPlane:
    api = item.fields("coordinates").fields("apiServer")
    conf = api.fields("authConf")
    return ControlPlane(
        name=item.text("name"),
        url=api.text("url"),
        ca_cert_file=api.text("caCertFile"),
        client_cert_file=api.text("clientCertFile"),
        client_key_file=api.text("clientKeyFile"),
        headers=tuple((header.text("key"), header.text("value")) for header in api.items("headers")),
        auth_type=api.text("authType"),
        auth_conf={key: conf.text(key) for key in conf.data},
        skip_verify=api.get("skipVerify", bool) or False,
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    data: Any
    path: str

    def __post_init__(self) -> None:
        if not isinstance(self.data, dict):
            raise ConfigInvalid(f"{self.path or 'the content'} must be a mapping")

    def get(self, name: str, kind: type) -> Any:
        value = self.data.get(name)
        if value is None:
            snake_case = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
            value = self.data.get(snake_case)
        if value is not None and not isinstance(value, kind):
            words = {str: "text", bool: "true or false", list: "a list", dict: "a mapping"}
            raise ConfigInvalid(f"{self.path}{name} must be {words[kind]}")
        return value

    def text(self, name: str) -> str:
        return self.get(name, str) or ""

    def fields(self, name: str) -> _Fields:
        return _Fields(self.get(name, dict) or {}, f"{self.path}{name}.")

    def items(self, name: str) -> list[_Fields]:
        found = self.get(name, list) or []
        return [_Fields(item, f"{self.path}{name}[{index}].") for index, item in enumerate(found)]

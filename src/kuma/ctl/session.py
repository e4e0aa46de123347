"""What every command shares: the flags that may stand anywhere, the settings, the client, the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kuma.core.errors import ConfigInvalid, MeshError
from kuma.core.version import COMPATIBLE_VERSION, PRODUCT

if TYPE_CHECKING:
    from kuma.ctl.client import Client
    from kuma.ctl.settings import ControlPlane, Settings

DEFAULT_MESH: Final = "default"
NO_CONTROL_PLANE: Final = (
    "no Control Plane is configured; add one with "
    '"kumactl config control-planes add --name=... --address=http://localhost:5681"'
)


@dataclass(slots=True)
class Session:
    """One run of kumactl."""

    flags: dict[str, Any] = field(default_factory=dict)
    clock: Callable[[], float] = time.time

    @property
    def mesh(self) -> str:
        return str(self.flags.get("mesh") or DEFAULT_MESH)

    @property
    def output(self) -> str:
        return str(self.flags.get("output") or "table")

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    @property
    def settings_path(self) -> Path:
        from kuma.ctl.settings import default_path

        given = self.flags.get("config_file")
        try:
            return Path(given) if given else default_path()
        except RuntimeError:
            raise ConfigInvalid(
                "there is no home directory to keep the configuration in; use --config-file PATH or --no-config"
            ) from None

    def settings(self) -> Settings:
        from kuma.ctl import settings

        return settings.DEFAULT if self.flags.get("no_config") else settings.load(self.settings_path)

    def save(self, changed: Settings) -> None:
        from kuma.ctl import settings

        if self.flags.get("no_config"):
            raise ConfigInvalid("--no-config writes nothing; leave it out to change the configuration")
        settings.save(self.settings_path, changed)

    def control_plane(self) -> ControlPlane:
        """The control plane commands talk to: that of ``--context``, else the active one."""
        context = str(self.flags.get("context") or "")
        found = self.settings().active(context)
        if found is None and context:
            raise ConfigInvalid(
                f'there is no Control Plane with name "{context}"; see "kumactl config control-planes list"'
            )
        if found is None:
            raise ConfigInvalid(NO_CONTROL_PLANE)
        return found

    def client_for(self, control_plane: ControlPlane, *, authenticated: bool = True) -> Client:
        from kuma.ctl.client import Client

        client = Client(
            control_plane, timeout=self.flags.get("api_timeout", 60.0), trace=self.trace, authenticated=authenticated
        )
        click.get_current_context().call_on_close(client.close)
        return client

    def client(self) -> Client:
        """A client of the control plane, after a word of warning if that is of another version."""
        client = self.client_for(self.control_plane())
        try:
            index = client.get("/").object()
        except ConfigInvalid:
            raise
        except MeshError as error:
            click.echo(f"WARNING: Failed to retrieve server version, can't check compatibility: {error}", err=True)
            return client
        product, version = str(index.get("product", "")), str(index.get("version", ""))
        if (product, version) != (PRODUCT, COMPATIBLE_VERSION) and "preview" not in version:
            from kuma.ctl.client import printable

            # Product and version stand in this order in Kuma's own message, which scripts may look for.
            click.echo(
                f"WARNING: You are using kumactl version {COMPATIBLE_VERSION} for {PRODUCT}, "
                f"but the server returned version: {printable(product)} for {printable(version)}",
                err=True,
            )
        return client

    def trace(self, line: str) -> None:
        if self.flags.get("log_level", "off") != "off":
            click.echo(line, err=True)


def session() -> Session:
    """The session of the running command."""
    found = click.get_current_context().find_object(Session)
    if found is None:
        raise RuntimeError("no session: commands run below the kumactl group only")
    return found

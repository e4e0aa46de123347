"""A resource inside the program: metadata plus a parsed, frozen spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any, Final, Generic, NoReturn, TypeVar

from kuma.core.errors import Violation
from kuma.core.model.kinds import BY_NAME, Kind
from kuma.core.model.spec import Spec


class _NoLabels(Mapping[str, str]):
    """The empty map, hashable so that it may be a default of a dataclass (Python 3.11 refuses others)."""

    __slots__ = ()

    def __getitem__(self, key: str) -> NoReturn:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"


NO_LABELS: Final[Mapping[str, str]] = _NoLabels()
_EPOCH = datetime.fromtimestamp(0, UTC)

S_co = TypeVar("S_co", bound=Spec, covariant=True)


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What identifies a resource. ``mesh`` is empty for global kinds."""

    kind: str
    mesh: str
    name: str


@dataclass(frozen=True, slots=True)
class Meta:
    """
    What the control plane knows about a resource beside its spec.

    ``version`` counts writes of this resource and is what optimistic locking compares; ``revision`` is the global
    revision of its last write. Both are 0 for a resource that was never stored.
    """

    key: Key
    labels: Mapping[str, str] = NO_LABELS
    created: datetime = _EPOCH
    modified: datetime = _EPOCH
    version: int = 0
    revision: int = 0

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def mesh(self) -> str:
        return self.key.mesh

    @property
    def display_name(self) -> str:
        """The name a person gave it: label ``kuma.io/display-name``, else the name."""
        return self.labels.get("kuma.io/display-name", self.key.name)


@dataclass(frozen=True, slots=True)
class Resource(Generic[S_co]):
    """One resource; ``status`` is what the control plane wrote beside the spec, where the kind has one."""

    meta: Meta
    spec: S_co
    status: Mapping[str, Any] | None = None

    @property
    def kind(self) -> Kind:
        return BY_NAME[self.meta.key.kind]


def no_status(_: Mapping[str, Any]) -> Mapping[str, Any]:
    """Nothing is known beside the spec."""
    return {}


def _nothing(_: Resource[Any]) -> Iterator[Any]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Definition:
    """
    The behaviour of a kind, declared in its home folder.

    ``validate`` yields every broken rule with the full field path (plugin kinds: starting ``spec.``); ``warnings``
    yields sentences about what is accepted but deprecated or without effect; ``complete`` fills in what the control
    plane adds before storing (defaults that are kept with the resource); ``status`` is what is shown beside a spec,
    given in wire form, unless a status is stored.
    """

    spec: type[Spec]
    validate: Callable[[Resource[Any]], Iterator[Violation]] = field(default=_nothing)
    warnings: Callable[[Resource[Any]], Iterator[str]] = field(default=_nothing)
    complete: Callable[[Any], Any] = field(default=lambda spec: spec)
    status: Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(default=no_status)


@cache
def definition(kind: str) -> Definition:
    """The definition of a registered kind, imported from its home on first use."""
    home = import_module(BY_NAME[kind].home)
    if BY_NAME[kind].policy is not None:
        return home.POLICY.definition()  # type: ignore[no-any-return]
    return home.DEFINITION  # type: ignore[no-any-return]

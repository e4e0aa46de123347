"""The policies this product serves, in the order in which they are applied to a proxy.

The kind registry says which there are and in which order; each policy's folder says the rest. The folders are
imported when ``POLICIES`` is first asked for, not before: views and drafts use the kit of this package, and policies
use drafts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from kuma.core.model.kinds import KINDS
from kuma.core.policies._kit.contract import Policy

POLICIES: tuple[Policy, ...]
BY_KIND: Mapping[str, Policy]


@cache
def _policies() -> tuple[Policy, ...]:
    return tuple(import_module(kind.home).POLICY for kind in KINDS if kind.policy is not None)


@cache
def _by_kind() -> Mapping[str, Policy]:
    return MappingProxyType({policy.kind: policy for policy in _policies()})


def __getattr__(name: str) -> object:
    match name:
        case "POLICIES":
            return _policies()
        case "BY_KIND":
            return _by_kind()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The kind registry: every resource kind this product serves, one line each.

The registry is data, light enough for ``kumactl`` to import: a kind's schema lives in its home folder and is
loaded by ``kuma.core.model.definition`` only where resources are read or written. Adding a kind is that folder and
one line here. A kind that is not in this tuple does not exist: the API answers 404 and ``/_resources`` omits it.

Facts: paths, short names and command words are Kuma 2.14's (spec/resources.md §1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Scope(Enum):
    """Where a kind lives: once per control plane, or once per mesh."""

    GLOBAL = "Global"
    MESH = "Mesh"


class Form(Enum):
    """How a kind is written: fields at the top (from protobuf) or under ``spec``."""

    LEGACY = "legacy"
    PLUGIN = "plugin"


@dataclass(frozen=True, slots=True)
class PolicyTraits:
    """Which lists a policy has; ``from_as_rules``: ``from`` entries are built as ordered rules without subsets."""

    to: bool = False
    from_: bool = False
    rules: bool = False
    from_as_rules: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """
    One resource kind.

    ``path`` is the plural in URLs and, for most kinds, the ``kumactl get`` word for the list; ``one`` is the word
    for a single object. ``home`` is the module that declares ``DEFINITION`` (plain kinds) or ``POLICY`` (policies).
    """

    name: str
    scope: Scope
    form: Form
    path: str
    one: str
    home: str
    list_word: str = ""
    """The ``kumactl`` word for the list, where it differs from ``path``."""
    short_name: str = ""
    alternative_path: str = ""
    """A second plural under which the API serves the same kind."""
    read_only: bool = False
    admin_only: bool = False
    zone_originated: bool = False
    """Labels origin, zone and env are computed for it."""
    labelled: bool = True
    """False: the kind carries no labels at all."""
    inspectable: bool = False
    has_overview: bool = False
    has_status: bool = False
    derived: bool = False
    """Never stored: computed from other resources whenever it is read."""
    on_command_line: bool = True
    policy: PolicyTraits | None = None

    @property
    def words(self) -> tuple[str, str]:
        """``(one, many)`` as typed after ``kumactl get``."""
        return self.one, self.list_word or self.path

    @property
    def singular_display_name(self) -> str:
        """``MeshHTTPRoute`` reads ``Mesh HTTP Route``."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", self.name)

    @property
    def plural_display_name(self) -> str:
        """The display name with an English plural."""
        return _plural(self.singular_display_name)


def _plural(word: str) -> str:
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "ch", "sh")) else f"{word}s"


def _legacy(name: str, scope: Scope, path: str, one: str, home: str, **traits: object) -> Kind:
    return Kind(name, scope, Form.LEGACY, path, one, f"kuma.core.resources.{home}", **traits)  # type: ignore[arg-type]


def _policy(name: str, short_name: str, traits: PolicyTraits, *, has_status: bool = False) -> Kind:
    one = name.lower()
    return Kind(
        name,
        Scope.MESH,
        Form.PLUGIN,
        _plural(one),
        one,
        f"kuma.core.policies.{one}",
        short_name=short_name,
        zone_originated=True,
        inspectable=True,
        has_status=has_status,
        policy=traits,
    )


_G, _M = Scope.GLOBAL, Scope.MESH

KINDS: Final[tuple[Kind, ...]] = (
    _legacy("Mesh", _G, "meshes", "mesh", "mesh", short_name="m", labelled=False),
    _legacy("Dataplane", _M, "dataplanes", "dataplane", "dataplane",
            short_name="dp", zone_originated=True, has_overview=True),
    _legacy("DataplaneInsight", _M, "dataplane-insights", "dataplane-insight", "dataplaneinsight",
            read_only=True, on_command_line=False),
    _legacy("MeshInsight", _G, "mesh-insights", "mesh-insight", "meshinsight",
            read_only=True, derived=True, on_command_line=False),
    _legacy("ServiceInsight", _M, "service-insights", "service-insight", "serviceinsight",
            read_only=True, derived=True, on_command_line=False),
    _legacy("Secret", _M, "secrets", "secret", "secret", admin_only=True, zone_originated=True),
    _legacy("GlobalSecret", _G, "globalsecrets", "globalsecret", "globalsecret",
            alternative_path="global-secrets", admin_only=True, zone_originated=True),
    # Policies, in the order in which they are applied to a proxy (spec/resources.md §1, column Order).
    # First: they make the routes that later policies write on.
    _policy("MeshHTTPRoute", "mhttpr", PolicyTraits(to=True)),
    _policy("MeshTCPRoute", "mtcpr", PolicyTraits(to=True)),
    _policy("MeshLoadBalancingStrategy", "mlbs", PolicyTraits(to=True)),
    _policy("MeshAccessLog", "mal", PolicyTraits(to=True, from_=True, rules=True, from_as_rules=True), has_status=True),
    _policy("MeshFaultInjection", "mfi", PolicyTraits(to=True, from_=True, rules=True)),
    _policy("MeshRateLimit", "mrl", PolicyTraits(to=True, from_=True, rules=True, from_as_rules=True)),
    _policy("MeshTimeout", "mt", PolicyTraits(to=True, from_=True, rules=True, from_as_rules=True)),
    # After everything that adds filters to inbound chains: RBAC must come first on the wire.
    _policy("MeshTrafficPermission", "mtp", PolicyTraits(from_=True, rules=True)),
    # After load balancing: what it may write of panic depends on how localities are chosen.
    _policy("MeshHealthCheck", "mhc", PolicyTraits(to=True)),
    _policy("MeshCircuitBreaker", "mcb", PolicyTraits(to=True, from_=True, rules=True, from_as_rules=True)),
    _policy("MeshRetry", "mr", PolicyTraits(to=True)),
    # Last: users patch what everyone else made.
    _policy("MeshProxyPatch", "mpp", PolicyTraits()),
)  # fmt: skip

BY_NAME: Final = {kind.name: kind for kind in KINDS}
BY_PATH: Final = {path: kind for kind in KINDS for path in (kind.path, kind.alternative_path) if path}

KNOWN_ELSEWHERE: Final = frozenset(
    {"MeshGateway", "MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute"} - BY_NAME.keys()
)
"""Kinds a targetRef may name although this product does not serve them: accepted, matching nothing, with a warning."""

"""What Envoy gets from MeshTrafficPermission (spec/policies.md §3).

A filter chain that demands a certificate gets an RBAC filter, first of all its filters; a plaintext chain gets none,
because it cannot tell who calls. What is not allowed is denied, so without any permission the filter denies all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kuma.core.model.labels import SERVICE_TAG
from kuma.core.policies._kit.rules import InboundRule, InboundRules, SubsetRule, TagMatch
from kuma.core.policies._kit.spec import Match
from kuma.core.policies._kit.validation import uri_san_pattern
from kuma.core.policies.meshtrafficpermission.spec import Conf, Permissions
from kuma.core.xds import names
from kuma.core.xds.draft import ChainDraft, InboundDraft
from kuma.core.xds.http import inspect_tls
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter
from kuma.envoy_api.envoy.config.rbac.v3.rbac_pb2 import RBAC, Action, Permission, Policy, Principal
from kuma.envoy_api.envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from kuma.envoy_api.envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac
from kuma.envoy_api.envoy.extensions.matching.common_inputs.network.v3.network_inputs_pb2 import ServerNameInput
from kuma.envoy_api.envoy.extensions.matching.common_inputs.ssl.v3.ssl_inputs_pb2 import UriSanInput
from kuma.envoy_api.xds.type.matcher.v3.matcher_pb2 import Matcher

NETWORK_RBAC: Final = "envoy.filters.network.rbac"
HTTP_RBAC: Final = "envoy.filters.http.rbac"
_POLICY: Final = "MeshTrafficPermission"
_ACTION: Final = "envoy.filters.rbac.action"
_DEFAULT: Final = "default"
_ALLOWING: Final = frozenset({"Allow", "AllowWithShadowDeny"})

_Confs = Conf | Permissions
"""What ``from`` entries and what ``rules`` say."""
_Predicate = Matcher.MatcherList.Predicate
_Rbac = http_rbac.RBAC | network_rbac.RBAC


def inbound(draft: InboundDraft, rules: InboundRules[_Confs]) -> None:
    """Put the permissions in front of every chain that speaks mutual TLS."""
    chains = [chain for chain in draft.chains if chain.tls is not None]
    for chain in chains:
        _guard(chain, draft, rules)
    if chains and any(_asks_for_server_name(rule) for rule in rules.rules):
        inspect_tls(draft.listener)


def _guard(chain: ChainDraft, draft: InboundDraft, rules: InboundRules[_Confs]) -> None:
    chain.network_filters[:] = [present for present in chain.network_filters if present.name != NETWORK_RBAC]
    if chain.http is not None:
        http = http_rbac.RBAC()
        _write(http, draft.view.mesh, rules)
        http_filter = HttpFilter(name=HTTP_RBAC)
        http_filter.typed_config.Pack(http, deterministic=True)
        chain.http_filters.insert(0, http_filter)
    else:
        # The dot keeps the listener's name apart from `rbac.allowed` in statistics.
        network = network_rbac.RBAC(stat_prefix=f"{names.sanitized(draft.listener.name)}.")
        _write(network, draft.view.mesh, rules)
        network_filter = Filter(name=NETWORK_RBAC)
        network_filter.typed_config.Pack(network, deterministic=True)
        chain.network_filters.insert(0, network_filter)


def _write(rbac: _Rbac, mesh: str, rules: InboundRules[_Confs]) -> None:
    if rules.rules:
        _write_identities(rbac, rules.rules)
    else:
        _write_tags(rbac, mesh, rules.subsets)


def _write_tags(rbac: _Rbac, mesh: str, subsets: Sequence[SubsetRule[_Confs]]) -> None:
    """The groups of sources are disjoint, so listing the allowed ones is enough; no group at all denies everybody."""
    allowed = [_principal(rule, mesh) for rule in subsets if _action_of(rule) in _ALLOWING]
    shadowed = [_principal(rule, mesh) for rule in subsets if _action_of(rule) == "AllowWithShadowDeny"]
    rbac.rules.SetInParent()
    if allowed:
        rbac.rules.policies[_POLICY].CopyFrom(_for_all(allowed))
    if shadowed:
        rbac.shadow_rules.action = RBAC.DENY
        rbac.shadow_rules.policies[_POLICY].CopyFrom(_for_all(shadowed))


def _action_of(rule: SubsetRule[_Confs]) -> str | None:
    return rule.merged.conf.action if isinstance(rule.merged.conf, Conf) else None


def _for_all(principals: Sequence[Principal]) -> Policy:
    return Policy(permissions=[Permission(any=True)], principals=principals)


def _principal(rule: SubsetRule[_Confs], mesh: str) -> Principal:
    parts = [_tag_principal(tag, mesh) for tag in rule.subset]
    match parts:
        case []:
            return Principal(any=True)
        case [only]:
            return only
    return Principal(and_ids=Principal.Set(ids=parts))


def _tag_principal(tag: TagMatch, mesh: str) -> Principal:
    """Every tag of a proxy is a URI in its certificate; ``*`` stands for any value."""
    principal = Principal()
    whole = names.service_spiffe_id(mesh, tag.value) if tag.key == SERVICE_TAG else f"kuma://{tag.key}/{tag.value}"
    if tag.value == "*":
        principal.authenticated.principal_name.prefix = whole.removesuffix("*")
    else:
        principal.authenticated.principal_name.exact = whole
    return Principal(not_id=principal) if tag.negated else principal


def _write_identities(rbac: _Rbac, rules: Sequence[InboundRule[_Confs]]) -> None:
    confs = [(rule.conf, rule.kri) for rule in rules if isinstance(rule.conf, Permissions)]
    decisions = [(match, _action(RBAC.DENY, kri)) for conf, kri in confs for match in conf.deny or ()]
    for conf, kri in confs:
        allowed = (*(conf.allow or ()), *(conf.allow_with_shadow_deny or ()))
        decisions += [(match, _action(RBAC.ALLOW, kri)) for match in allowed]
    _fill(rbac.matcher, decisions, otherwise=_action(RBAC.DENY, _DEFAULT))
    shadowed = [(match, _action(RBAC.DENY, kri)) for conf, kri in confs for match in conf.allow_with_shadow_deny or ()]
    if shadowed:
        # Envoy takes "nothing matched" for a denial, which would count every request as shadow-denied.
        _fill(rbac.shadow_matcher, shadowed, otherwise=_action(RBAC.ALLOW, _DEFAULT))


def _asks_for_server_name(rule: InboundRule[_Confs]) -> bool:
    if not isinstance(rule.conf, Permissions):
        return False
    lists = (rule.conf.deny, rule.conf.allow, rule.conf.allow_with_shadow_deny)
    return any(match.sni is not None for matches in lists for match in matches or ())


def _fill(matcher: Matcher, decisions: Sequence[tuple[Match, Action]], *, otherwise: Action) -> None:
    """The first match decides; an empty match holds for everybody, so nothing after it can."""
    for match, action in decisions:
        predicates = list(_predicates(match))
        if not predicates:
            otherwise = action
            break
        entry = matcher.matcher_list.matchers.add()
        if len(predicates) == 1:
            entry.predicate.CopyFrom(predicates[0])
        else:
            entry.predicate.and_matcher.predicate.extend(predicates)
        _set_action(entry.on_match, action)
    _set_action(matcher.on_no_match, otherwise)


def _predicates(match: Match) -> Iterator[Matcher.MatcherList.Predicate]:
    if match.spiffe_id is not None:
        predicate = _Predicate()
        single = predicate.single_predicate
        single.input.name = "envoy.matching.inputs.uri_san"
        single.input.typed_config.Pack(UriSanInput())
        single.value_match.safe_regex.google_re2.SetInParent()
        single.value_match.safe_regex.regex = uri_san_pattern(match.spiffe_id)
        yield predicate
    if match.sni is not None:
        predicate = _Predicate()
        single = predicate.single_predicate
        single.input.name = "envoy.matching.inputs.server_name"
        single.input.typed_config.Pack(ServerNameInput())
        single.value_match.exact = match.sni.value or ""
        yield predicate


def _action(decision: RBAC.Action, name: str) -> Action:
    return Action(name=name, action=decision)


def _set_action(target: Matcher.OnMatch, action: Action) -> None:
    target.action.name = _ACTION
    target.action.typed_config.Pack(action, deterministic=True)

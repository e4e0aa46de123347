"""The rules that hold for a proxy in the two forms of ``_rules`` and ``rules`` (spec/api-server.md §7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kuma.core.policies import POLICIES
from kuma.core.policies._kit.build import outbound_parts
from kuma.core.resources.dataplane import facts
from kuma.core.snapshot.explain import ClientConf, Effective, InboundConfs, KindRules, TrafficConf, explained
from kuma.cp.server.api.envelope import reference
from kuma.cp.server.api.matching import Matched


def rules_body(matched: Matched) -> dict[str, Any]:
    """
    The answer of ``_rules``.

    Beside Kuma's fields every rule has ``sources`` (ours): for each value of its conf, by its path, the policies that
    it came from.
    """
    return {
        "httpMatches": list(_http_matches(matched)),
        "resource": reference(matched.dataplane.meta),
        "rules": [_kind(one, matched) for one in explained(matched.dataplane, matched.selected)],
    }


def legacy_items(matched: Matched) -> Iterator[dict[str, Any]]:
    """The items of ``rules``, the older form."""
    for rules in explained(matched.dataplane, matched.selected):
        if rules.whole is not None:
            yield _legacy("SingleItem", rules.kind, TrafficConf((), rules.whole)) | _target("", "", {})
        for rule in rules.to:
            yield _legacy("DestinationSubset", rules.kind, rule) | _target("", "", {})
        for confs in rules.inbounds:
            tags = dict(confs.inbound.tags)
            address = facts.inbound_endpoint(matched.dataplane.spec, confs.inbound)
            where = _target(f"{address.address}:{address.port}", tags.get("kuma.io/service", ""), tags)
            for rule in confs.subsets:
                yield _legacy("ClientSubset", rules.kind, rule) | where
            for one in confs.ordered:
                yield _legacy("ClientSubset", rules.kind, TrafficConf((), one.effective)) | where


def _http_matches(matched: Matched) -> Iterator[dict[str, Any]]:
    """What the names of routes stand for, each once."""
    seen: set[str] = set()
    for policy in POLICIES:
        if policy.routes is None:
            continue
        policies = matched.selected[policy.kind].policies
        services = {item.target_ref.name for one in policies for item in one.spec.to if item.target_ref.name}
        for service in sorted(services):
            for conf, _ in outbound_parts(policies, service):
                for rule in policy.routes(conf):
                    if rule.name not in seen:
                        seen.add(rule.name)
                        yield {"hash": rule.name, "match": [match.to_json() for match in rule.matches]}


def _kind(rules: KindRules, matched: Matched) -> dict[str, Any]:
    body: dict[str, Any] = {
        "fromRules": [
            {"inbound": _inbound(one), "rules": [_subset(rule, matched) for rule in one.subsets]}
            for one in rules.inbounds
            if one.subsets
        ],
        "inboundRules": [
            {"inbound": _inbound(one), "rules": [_ordered(rule, matched) for rule in one.ordered]}
            for one in rules.inbounds
            if one.ordered
        ],
    }
    if rules.whole is not None:
        body["proxyRule"] = _conf(rules.whole, matched)
    return body | {
        "toResourceRules": [],
        "toRules": [_subset(rule, matched) for rule in rules.to],
        "type": rules.kind,
        "warnings": [],
    }


def _conf(effective: Effective, matched: Matched) -> dict[str, Any]:
    return {
        "conf": effective.conf,
        "origin": [reference(matched.metas[key]) for key in effective.origins],
        "sources": matched.sources(effective.sources),
    }


def _subset(rule: TrafficConf, matched: Matched) -> dict[str, Any]:
    matchers = [{"key": tag.key, "not": tag.negated, "value": tag.value} for tag in rule.subset]
    return {"matchers": matchers, **_conf(rule.effective, matched)}


def _ordered(rule: ClientConf, matched: Matched) -> dict[str, Any]:
    body: dict[str, Any] = {"conf": [rule.effective.conf]}
    if rule.match is not None:
        body["match"] = rule.match
    return body | {
        "origin": [{"resourceMeta": reference(matched.metas[key])} for key in rule.effective.origins],
        "sources": matched.sources(rule.effective.sources),
    }


def _inbound(confs: InboundConfs) -> dict[str, Any]:
    name = {"name": confs.inbound.name} if confs.inbound.name else {}
    return name | {"port": confs.inbound.port, "tags": dict(confs.inbound.tags)}


def _target(name: str, service: str, tags: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "addresses": [], "service": service, "tags": tags}


def _legacy(type: str, kind: str, rule: TrafficConf) -> dict[str, Any]:
    return {
        "type": type,
        "policyType": kind,
        "subset": {tag.key: f"!{tag.value}" if tag.negated else tag.value for tag in rule.subset},
        "conf": rule.effective.conf,
        "origins": [{"mesh": key.mesh, "name": key.name} for key in rule.effective.origins],
    }

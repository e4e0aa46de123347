"""What Envoy gets from MeshFaultInjection (spec/policies.md §9).

Every fault is a filter of its own, so that they are thrown for independently. Sources of ``from`` entries are told
apart by the tags that their proxy sends along; clients of ``rules`` by their identity, and every rule counts that holds
for a client. Whoever the filter is not for passes it untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from google.protobuf.message import Message

from kuma.core.policies._kit.clients import as_written
from kuma.core.policies._kit.rules import InboundRule, InboundRules
from kuma.core.policies.meshfaultinjection.spec import Conf, Fault
from kuma.core.policies.meshfaultinjection.validate import kilobits_per_second
from kuma.core.units import parse_decimal
from kuma.core.xds.clients import Predicate, either, predicate
from kuma.core.xds.draft import ChainDraft, InboundDraft
from kuma.core.xds.http import inspect_tls
from kuma.core.xds.pack import as_any
from kuma.core.xds.source_tags import source_matchers
from kuma.envoy_api.envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from kuma.envoy_api.envoy.extensions.common.matching.v3.extension_matcher_pb2 import ExtensionWithMatcher
from kuma.envoy_api.envoy.extensions.filters.common.matcher.action.v3.skip_action_pb2 import SkipFilter
from kuma.envoy_api.envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from kuma.envoy_api.envoy.type.v3.percent_pb2 import FractionalPercent

FAULT: Final = "envoy.filters.http.fault"
_SKIP: Final = "skip"
_DENOMINATORS: Final = (
    (0, FractionalPercent.HUNDRED),
    (2, FractionalPercent.TEN_THOUSAND),
    (4, FractionalPercent.MILLION),
)
_MOST_DECIMALS: Final = 4


def inbound(draft: InboundDraft, rules: InboundRules[Conf]) -> None:
    """Put the faults between what other policies decide and the application."""
    written = as_written(rules.rules)
    by_name = any(rule.match is not None and rule.match.sni is not None for rule in rules.rules)
    for chain in draft.chains:
        if chain.http is None:
            continue
        chain.http_filters.extend(_by_identity(chain, written) if rules.rules else _by_tags(rules))
        if by_name and chain.tls is not None:
            inspect_tls(draft.listener)


def _by_tags(rules: InboundRules[Conf]) -> Iterator[HttpFilter]:
    """The groups of sources are disjoint, so their order does not matter."""
    for rule in rules.subsets:
        for fault in _faults(rule.merged.conf):
            fault.headers.extend(source_matchers(rule.subset))
            yield HttpFilter(name=FAULT, typed_config=as_any(fault))


def _by_identity(chain: ChainDraft, written: Iterable[Sequence[InboundRule[Conf]]]) -> Iterator[HttpFilter]:
    for entries in written:
        clients = [predicate(entry.match) if entry.match is not None else None for entry in entries]
        known = [one for one in clients if one is not None]
        for_all = len(known) < len(clients)
        if for_all or chain.tls is not None:  # a peer without a certificate has no identity
            for fault in _faults(entries[0].conf):
                config = fault if for_all else _only_for(known, fault)
                yield HttpFilter(name=entries[0].kri, typed_config=as_any(config))


def _only_for(clients: Sequence[Predicate], fault: HTTPFault) -> Message:
    wrapped = ExtensionWithMatcher(extension_config=TypedExtensionConfig(name=FAULT, typed_config=as_any(fault)))
    entry = wrapped.xds_matcher.matcher_list.matchers.add()
    entry.predicate.not_matcher.CopyFrom(either(clients))
    entry.on_match.action.name = _SKIP
    entry.on_match.action.typed_config.Pack(SkipFilter())
    return wrapped


def _faults(conf: Conf) -> Iterator[HTTPFault]:
    for fault in conf.http or ():
        made = _fault(fault)
        if made.ListFields():
            yield made


def _fault(fault: Fault) -> HTTPFault:
    made = HTTPFault()
    if fault.abort is not None:
        made.abort.http_status = fault.abort.http_status
        made.abort.percentage.CopyFrom(_percent(fault.abort.percentage))
    if fault.delay is not None and fault.delay.value:  # Envoy refuses a delay of nothing
        made.delay.fixed_delay.FromTimedelta(fault.delay.value)
        made.delay.percentage.CopyFrom(_percent(fault.delay.percentage))
    if fault.response_bandwidth is not None:
        limit = kilobits_per_second(fault.response_bandwidth.limit)
        made.response_rate_limit.fixed_limit.limit_kbps = limit or 1
        made.response_rate_limit.percentage.CopyFrom(_percent(fault.response_bandwidth.percentage))
    return made


def _percent(value: int | str) -> FractionalPercent:
    """As exact as written, up to Envoy's finest unit, a millionth; what is finer is cut off."""
    number = parse_decimal(str(value))
    decimals = min(max(0, -int(number.normalize().as_tuple().exponent)), _MOST_DECIMALS)
    places, denominator = next(found for found in _DENOMINATORS if found[0] >= decimals)
    return FractionalPercent(numerator=int(number * Decimal(10) ** places), denominator=denominator)

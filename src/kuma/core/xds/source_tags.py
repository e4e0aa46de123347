"""How a request says which proxy sent it: the header ``x-kuma-tags``, written by outbounds and read by inbounds.

The text is Kuma's, so that proxies of either product understand each other: ``&key=value1,value2&`` for each tag, one
after the other. The header is a hint for policies such as fault injection and proves nothing: any client may write it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from kuma.core.policies._kit.rules import TagMatch
from kuma.core.xds.names import SOURCE_TAGS_HEADER
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import HeaderMatcher

HEADER: Final = SOURCE_TAGS_HEADER
_ANY: Final = "*"
_LONGEST: Final = 16_384
"""Envoy writes no longer header."""


def header_value(tags: Mapping[str, Iterable[str]]) -> str:
    """The header of a proxy with these tags, each with all its values; without those for which it has no room."""
    header = ""
    for key, values in sorted(tags.items()):
        part = f"&{key}={','.join(sorted(values))}&"
        if len(header) + len(part) <= _LONGEST:
            header += part
    return header


def source_matchers(subset: Iterable[TagMatch]) -> list[HeaderMatcher]:
    """
    Conditions on the header, all of which hold for the requests of sources with these tags.

    A request without the header comes from a source without tags, so it meets every negated condition.
    """
    return [_matcher(tag) for tag in subset]


def _matcher(tag: TagMatch) -> HeaderMatcher:
    value = "" if tag.value == _ANY else f"([^&]*,)?{re.escape(tag.value)}[,&]"
    matcher = HeaderMatcher(name=HEADER)
    matcher.string_match.safe_regex.regex = f".*&{re.escape(tag.key)}={value}.*"
    matcher.treat_missing_header_as_empty = True
    matcher.invert_match = tag.negated
    return matcher

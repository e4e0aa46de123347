"""What an Envoy shows of its configuration, without what others could use to be that proxy.

Envoy hides private keys itself. It does not hide the headers that it sends to gRPC services, and the first of them is
the token with which the proxy proves who it is to the control plane. The proxy may be malicious: what it sends is
searched in linear time.
"""

from __future__ import annotations

from typing import Final

import re2

from kuma.core.errors import BadRequest

HIDDEN: Final = "[redacted]"
"""Envoy's own word for a private key."""

_NAME: Final = b'"initial_metadata"'
_MOST: Final = 10_000
_TEXT: Final = rb'"(?:[^"\\]|\\.)*"'
_METADATA: Final = re2.compile(rb'(%b\s*:\s*)(\[(?:[^\]"]|%b)*\])' % (_NAME, _TEXT))
_VALUE: Final = re2.compile(rb'("(?:value|raw_value)"\s*:\s*)%b' % _TEXT)


def redacted(dump: bytes) -> bytes:
    """
    A config dump in JSON in which no header of a gRPC service has a value.

    Raises:
        BadRequest: there are more of them than any configuration of ours has.
    """
    if dump.count(_NAME) > _MOST:
        raise BadRequest(
            f"the proxy shows a configuration with more than {_MOST} lists of headers; it is not shown here"
        )
    shown: bytes = _METADATA.sub(lambda found: found[1] + _VALUE.sub(rb'\1"%b"' % HIDDEN.encode(), found[2]), dump)
    return shown

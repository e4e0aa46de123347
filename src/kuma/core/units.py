"""Units that users write: Go durations, percentages, addresses and ports.

Durations are ``datetime.timedelta`` inside; text forms are Go's (https://pkg.go.dev/time#ParseDuration), because
resources, settings and tokens of a Kuma user carry them.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from durationpy import DurationError, from_str

_HOSTNAME_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.IGNORECASE)
_DURATION_TERM: Final = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?P<unit>[^.0-9]*)")
_DURATION_UNITS: Final = frozenset({"ns", "us", "µs", "μs", "ms", "s", "m", "h"})
_MICROSECONDS: Final = {"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000}
_LONGEST_DURATION: Final = timedelta(microseconds=(2**63 - 1) // 1000)
MAX_DURATION_TEXT: Final = 64


def parse_duration(text: str) -> timedelta:
    """
    Read a Go duration such as ``1h30m``, ``0.5s``, ``-2ms`` or ``0``.

    Raises:
        ValueError: not a Go duration, or beyond the 292 years that Go can hold. The text is Go's.
    """
    if len(text) > MAX_DURATION_TEXT:
        raise ValueError(f'time: invalid duration "{text[:MAX_DURATION_TEXT]}"')
    _check_duration(text)
    try:
        # The library also knows days, spaces and signs inside; the check above lets only Go's form through.
        value: timedelta = from_str(re.sub("[µμ]s", "us", text))
    except (DurationError, ValueError, OverflowError, InvalidOperation) as error:
        raise ValueError(f'time: invalid duration "{text}"') from error
    if abs(value) > _LONGEST_DURATION:
        raise ValueError(f'time: invalid duration "{text}"')
    return value


def format_duration(value: timedelta) -> str:
    """Print as Go does: ``1h0m0s``, ``30s``, ``500ms``, ``0s``. Microseconds are the finest unit kept."""
    total = value // timedelta(microseconds=1)
    if total == 0:
        return "0s"
    sign, total = ("-", -total) if total < 0 else ("", total)
    if total < 1000:
        return f"{sign}{total}µs"
    if total < 1_000_000:
        return f"{sign}{_decimal(total, 1000)}ms"
    hours, rest = divmod(total, _MICROSECONDS["h"])
    minutes, rest = divmod(rest, _MICROSECONDS["m"])
    seconds = f"{_decimal(rest, 1_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def format_proto_duration(value: timedelta) -> str:
    """Print as protobuf's JSON mapping does: seconds with 0, 3, 6 or 9 decimals (``3600s``, ``0.500s``)."""
    total = value // timedelta(microseconds=1)
    sign, total = ("-", -total) if total < 0 else ("", total)
    seconds, micros = divmod(total, 1_000_000)
    if micros == 0:
        return f"{sign}{seconds}s"
    return f"{sign}{seconds}.{micros // 1000:03d}s" if micros % 1000 == 0 else f"{sign}{seconds}.{micros:06d}s"


def parse_decimal(text: str) -> Decimal:
    """
    Read a plain decimal number such as ``12.5``.

    Raises:
        ValueError: not a finite decimal number.
    """
    if len(text) > MAX_DURATION_TEXT or not re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", text):
        raise ValueError("string is not a number")
    return Decimal(text)


def is_ip(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address (no zone, no port)."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def ip_of(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a text is, None when it is a name or nothing; IPv4 within IPv6 is IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def one_spelling(address: str) -> str:
    """An address as it is always written: of the many spellings of an IPv6 address the shortest, in lower case."""
    return ip_address(address).compressed if ":" in address and is_ip(address) else address


def is_hostname(text: str) -> bool:
    """Whether the text is a DNS name: labels of at most 63 characters, 253 in all (RFC 1123)."""
    labels = text.removesuffix(".").split(".")
    return 0 < len(text) <= 253 and all(len(x) <= 63 and _HOSTNAME_LABEL.fullmatch(x) for x in labels)


def _check_duration(text: str) -> None:
    """Refuse what Go refuses, for Go's reason."""
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    while rest:
        match = _DURATION_TERM.match(rest)
        if match is None:
            raise ValueError(f'time: invalid duration "{text}"')
        if not match["unit"]:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if match["unit"] not in _DURATION_UNITS:
            raise ValueError(f'time: unknown unit "{match["unit"]}" in duration "{text}"')
        rest = rest[match.end() :]


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    if not fraction:
        return str(whole)
    return f"{whole}.{str(fraction).rjust(len(str(unit)) - 1, '0').rstrip('0')}"

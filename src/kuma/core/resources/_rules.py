"""Rules that several kinds share: ports, addresses, tags, names. Texts are Kuma's (spec/resources.md §2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from kuma.core.errors import Violation
from kuma.core.model.labels import SERVICE_TAG
from kuma.core.units import is_ip

MAX_PORT: Final = 65535

_KEY: Final = re.compile(r"[a-zA-Z0-9.\-_:/]*")
_VALUE: Final = re.compile(r"[a-zA-Z0-9.\-_:]*")
_SELECTOR: Final = re.compile(r"[a-zA-Z0-9.\-_:/]*|\*")
_DNS_NAME: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62}(\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*\.?")
"""Looser than RFC 1123: names with an underscore, as Docker makes them, resolve and are accepted."""
_RFC1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_KEY_TEXT: Final = "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores"
_VALUE_TEXT: Final = "tag value must consist of alphanumeric characters, dots, dashes and underscores"
_SELECTOR_TEXT: Final = (
    'tag value must consist of alphanumeric characters, dots, dashes, slashes and underscores or be "*"'
)
RFC1035_TEXT: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)


def port(field: str, value: int) -> Iterator[Violation]:
    if not 1 <= value <= MAX_PORT:
        yield Violation(field, "port must be in the range [1, 65535]")


def optional_port(field: str, value: int) -> Iterator[Violation]:
    """As ``port``; 0 means "not set"."""
    if value:
        yield from port(field, value)


def optional_ip(field: str, value: str) -> Iterator[Violation]:
    if value and not is_ip(value):
        yield Violation(field, f"{field.rpartition('.')[2]} has to be valid IP address")


def host_address(field: str, value: str) -> Iterator[Violation]:
    """An address under which others reach something: an IP that is not "any", or a DNS name."""
    if not value:
        yield Violation(field, "address can't be empty")
    elif value in {"0.0.0.0", "::"}:  # noqa: S104  # compared, not listened on
        yield Violation(field, "must not be 0.0.0.0 or ::")
    elif not is_ip(value) and not (len(value) <= 253 and _DNS_NAME.fullmatch(value)):
        yield Violation(field, "address has to be valid IP address or domain name")


def tags(field: str, values: Mapping[str, str]) -> Iterator[Violation]:
    """Tags that describe something."""
    return _tags(field, values, _VALUE, _VALUE_TEXT)


def selector(field: str, values: Mapping[str, str]) -> Iterator[Violation]:
    """Tags that select something: ``*`` stands for any value."""
    if not values:
        yield Violation(field, "must have at least one tag")
    yield from _tags(field, values, _SELECTOR, _SELECTOR_TEXT)


def service_tag(field: str, values: Mapping[str, str]) -> Iterator[Violation]:
    """Tags, if there are any, name the service they belong to."""
    if values and SERVICE_TAG not in values:
        yield Violation(f'{field}["{SERVICE_TAG}"]', "tag has to exist")


def _tags(field: str, values: Mapping[str, str], allowed: re.Pattern[str], text: str) -> Iterator[Violation]:
    for key, value in values.items():
        here = f'{field}["{key}"]'
        if not key:
            yield Violation(field, "tag name must be non-empty")
        if not _KEY.fullmatch(key):
            yield Violation(here, _KEY_TEXT)
        if not value:
            yield Violation(here, "tag value must be non-empty")
        if not allowed.fullmatch(value):
            yield Violation(here, text)


def unique_names(field: str, names: Iterable[str]) -> Iterator[Violation]:
    """Names of backends: each is used once."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield Violation(f"{field}[{index}].name", f'"{name}" name is already used for another backend')
        seen.add(name)


def is_rfc1035(text: str) -> bool:
    """Whether the text is a DNS label that starts with a letter."""
    return len(text) <= 63 and _RFC1035.fullmatch(text) is not None


def is_url_path(text: str) -> bool:
    """Whether the text is an absolute path as it stands in a request line."""
    return text.startswith("/") and not re.search(r"[\x00-\x20\x7f]|%(?![0-9a-fA-F]{2})", text)


def url_port(text: str) -> int | None:
    """
    The port a URL names explicitly, None where it names none.

    Raises:
        ValueError: not a URL with a scheme and a host.
    """
    parts = urlsplit(text)
    if not parts.scheme or not parts.hostname or re.search(r"[\x00-\x20\x7f]", text):
        raise ValueError("not a URL")
    return parts.port


def is_host_port(text: str) -> bool:
    """Whether the text is ``HOST:PORT`` (an IPv6 host in brackets, or no host at all)."""
    host, separator, number = text.rpartition(":")
    if not separator or not number.isascii() or not number.isdecimal() or len(number) > 5 or int(number) > MAX_PORT:
        return False
    return (":" not in host and "[" not in host) or (host.startswith("[") and host.endswith("]"))

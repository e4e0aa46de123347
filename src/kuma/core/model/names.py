"""Names of resources and labels: which characters, and how many."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from kuma.core.errors import Violation

MAX_NAME: Final = 253
MAX_LABEL: Final = 63
MAX_LABELS: Final = 1000
"""More than anyone can mean; each is looked at whenever something selects by labels."""

_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_NAME: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_NAME_TEXT: Final = (
    "invalid characters: must consist of lower case alphanumeric characters, '-' or '.', and must start and end with "
    "an alphanumeric character"
)
_LABEL_TEXT: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)


def resource_name(name: str) -> Iterator[Violation]:
    """What is wrong with the name of a resource."""
    if not name:
        yield Violation("name", "cannot be empty")
    elif len(name) > MAX_NAME:
        yield Violation("name", f"value length must less or equal {MAX_NAME}")
    elif not _SUBDOMAIN.fullmatch(name):
        yield Violation("name", _NAME_TEXT)


def labels(written: Mapping[str, str]) -> Iterator[Violation]:
    """What is wrong with the form of labels: Kubernetes' rules, so that a resource fits into a cluster too."""
    if len(written) > MAX_LABELS:
        yield Violation("labels", f"must not be more than {MAX_LABELS}")
        return
    for key, value in written.items():
        here = f'labels["{key}"]'
        for reason in (*_key_faults(key), *_value_faults(value)):
            yield Violation(here, reason)


def _key_faults(key: str) -> Iterator[str]:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > MAX_NAME or not _SUBDOMAIN.fullmatch(prefix)):
        yield f"prefix part must be a DNS subdomain of at most {MAX_NAME} characters"
    if len(name) > MAX_LABEL:
        yield f"name part must be no more than {MAX_LABEL} characters"
    elif not name:
        yield "name part must be non-empty"
    elif not _LABEL_NAME.fullmatch(name):
        yield f"name part {_LABEL_TEXT}"


def _value_faults(value: str) -> Iterator[str]:
    if len(value) > MAX_LABEL:
        yield f"value must be no more than {MAX_LABEL} characters"
    elif value and not _LABEL_NAME.fullmatch(value):
        yield f"value {_LABEL_TEXT}"

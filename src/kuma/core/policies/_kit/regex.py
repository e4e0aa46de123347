"""
Users' regular expressions, checked with the library that Envoy runs them with.

Envoy refuses a whole configuration for one bad expression, so it must not get past the API. Envoy looks at bytes, not
at characters, which decides what an expression is: no code point above 255 can be named in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import re2

from kuma.core.errors import Violation
from kuma.core.policies._kit.validation import MUST_BE_DEFINED

_AS_IN_ENVOY: Final = re2.Options()
_AS_IN_ENVOY.log_errors = False
_AS_IN_ENVOY.encoding = re2.Options.Encoding.LATIN1


def regex_violations(text: str | None, path: str) -> Iterator[Violation]:
    """A regular expression that RE2 understands; an empty one is no expression."""
    if not text:
        yield Violation(path, MUST_BE_DEFINED)
        return
    try:
        re2.compile(text.encode(), _AS_IN_ENVOY)
    except (re2.error, UnicodeError) as error:
        yield Violation(path, f"must be a valid regular expression (RE2): {_text(error)}")


def _text(error: Exception) -> str:
    """RE2 speaks in bytes."""
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else re.sub(r"\s+", " ", str(said))

"""Reading the YAML and JSON that users write, and writing YAML back.

Promises: what comes out is plain JSON data (dict with text keys, list, str, int, float, bool, None) that can be
stored and sent to any peer. Whatever goes in, the only errors are ``BadRequest`` and ``TooLarge``, with the place
where it is known, and the time is linear in the size of the input. Refused, because peers disagree about them or
because they are attacks: a key given twice, keys that are not text, NUL and lone surrogates, numbers that are not
finite or do not fit in 64 bits, deep nesting, aliases that multiply.

The YAML dialect is that of sigs.k8s.io/yaml, which Kuma's users know: YAML 1.1 booleans (``on``, ``yes``), no
timestamps, no base-60 numbers, ``1e3`` a number. Values behind an alias are shared, so treat results as read-only.
"""

from __future__ import annotations

import json
from typing import Any, Final

import yaml

from kuma.core.errors import BadRequest
from kuma.core.model._json_text import Limits, TooDeep, check_size, checked_bytes, read_json
from kuma.core.model._yaml_text import YamlReader, dump_yaml, yaml_problem

__all__ = ["DEFAULT_LIMITS", "Limits", "dump_yaml", "parse_document", "parse_documents", "parse_json"]

DEFAULT_LIMITS: Final = Limits()


def parse_documents(text: str, limits: Limits = DEFAULT_LIMITS) -> list[Any]:
    """
    All YAML (or JSON) documents in a text; empty ones are skipped.

    Raises:
        BadRequest: not readable, or refused; the text says where and why.
        TooLarge: over ``limits.size`` bytes.
    """
    data = checked_bytes(text, limits)
    if text.lstrip()[:1] in ("{", "[", '"'):
        try:
            return [read_json(text, limits)]
        except (json.JSONDecodeError, TooDeep):
            pass  # YAML in flow style, where brackets may stand in single quotes and comments
    reader = YamlReader(data, limits)
    try:
        return reader.documents()
    except yaml.YAMLError as error:
        raise BadRequest(yaml_problem(error, limits)) from None
    finally:
        reader.close()


def parse_document(text: str, limits: Limits = DEFAULT_LIMITS) -> Any:
    """
    The one YAML (or JSON) document in a text; ``None`` if the text is empty.

    Raises:
        BadRequest: not readable, refused, or more than one document.
        TooLarge: over ``limits.size`` bytes.
    """
    documents = parse_documents(text, limits)
    if len(documents) > 1:
        raise BadRequest(f"expected one document, found {len(documents)} (separated by ---)")
    return documents[0] if documents else None


def parse_json(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """
    One JSON value in UTF-8.

    Raises:
        BadRequest: not JSON, or refused; the text says where and why.
        TooLarge: over ``limits.size`` bytes.
    """
    check_size(len(data), limits)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"not UTF-8 text: wrong byte at offset {error.start}") from None
    try:
        return read_json(text, limits)
    except json.JSONDecodeError as error:
        problem = error.msg[:1].lower() + error.msg[1:]
        raise BadRequest(f"not valid JSON: line {error.lineno}, column {error.colno}: {problem}") from None

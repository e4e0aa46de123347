"""YAML text to data and back (see ``text``, which is what the rest of the program imports)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from kuma.core.errors import BadRequest
from kuma.core.model._json_text import Limits, finite_float, integer, shown, too_deep

_TAG: Final = "tag:yaml.org,2002:"
_BOOLEANS: Final = {
    form: value
    for value, words in ((True, ("y", "yes", "true", "on")), (False, ("n", "no", "false", "off")))
    for word in words
    for form in (word, word.capitalize(), word.upper())
}
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGERS: Final = (
    (10, re.compile(r"([-+]?)(0|[1-9][0-9]*)")),
    (8, re.compile(r"([-+]?)0[oO]?([0-7]+)")),
    (16, re.compile(r"([-+]?)0[xX]([0-9a-fA-F]+)")),
    (2, re.compile(r"([-+]?)0[bB]([01]+)")),
)
_MAY_BE_NO_TEXT: Final = frozenset("+-.0123456789~yYnNtTfFoO")
_NODE_OF_TEXT: Final = 16


_LIBRARY_TOO_DEEP: Final = "exceeded maximum nesting depth"
"""libyaml, which reads ahead, has a limit of its own from 0.2.6 on (1000 levels)."""


def yaml_problem(error: yaml.YAMLError, limits: Limits) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        if _LIBRARY_TOO_DEEP in f"{error.context} {error.problem}":
            return f"{_at(mark) if mark else ''}{too_deep(limits.depth)}"
        problem = " ".join(part for part in (error.context, error.problem) if part)
        return f"not valid YAML: {_at(mark)}{problem}" if mark else f"not valid YAML: {problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"not valid YAML: character {error.position + 1}: {error.reason}"
    return f"not valid YAML: {error}"


def _at(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: "


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read; ``depth`` and ``nodes`` are of what is inside, for later aliases."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    nodes_before: int
    key: str | None = None
    height: int = 1
    merged: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: Any
    height: int
    nodes: int


class YamlReader:
    """Builds values from libyaml's events, without recursion: depth and size are refused before they exist."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._loader = yaml.CSafeLoader(data)
        self._limits = limits
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._nodes = 0
        self._result: Any = None

    def close(self) -> None:
        self._loader.dispose()

    def documents(self) -> list[Any]:
        found: list[Any] = []
        empty = True
        for event in self._events():
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
                empty = empty and not self._stack and event.value == "" and event.implicit[0]
                continue
            if kind is yaml.DocumentStartEvent:
                self._anchors.clear()
                empty = True
            elif kind is yaml.DocumentEndEvent:
                if not empty:
                    found.append(self._result)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                empty = False
                self._start(event, {} if kind is yaml.MappingStartEvent else [])
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._end(event)
            elif kind is yaml.AliasEvent:
                self._alias(event)
        return found

    def _events(self) -> Iterator[Any]:
        get_event = self._loader.get_event
        while (event := get_event()) is not None:
            yield event

    def _scalar(self, event: Any) -> None:
        value = self._scalar_value(event)
        nodes = 1 + len(event.value) // _NODE_OF_TEXT
        self._count(event, nodes)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, 0, nodes)
        self._add(event, value, plain=event.implicit[0])

    def _scalar_value(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        if event.implicit[0] and tag is None:
            if text[:1] not in _MAY_BE_NO_TEXT:  # "" is in no set of characters, and is null
                return text or None
            try:
                return _plain(text)
            except BadRequest as error:
                raise self._error(event, str(error)) from None
        if "\0" in text:
            raise self._error(event, "NUL character")
        return text if tag is None or tag in ("!", f"{_TAG}str") else self._tagged(event)

    def _tagged(self, event: Any) -> Any:
        names = {"int": (int,), "float": (float, int), "bool": (bool,), "null": (type(None),)}
        name = event.tag.removeprefix(_TAG)
        if name not in names:
            raise self._error(event, f"the tag {shown(event.tag)} is not supported; write plain data")
        try:
            value = _plain(event.value)
        except BadRequest as error:
            raise self._error(event, str(error)) from None
        if type(value) not in names[name]:
            raise self._error(event, f"{shown(event.value)} is not of type {name}")
        return float(value) if name == "float" else value

    def _start(self, event: Any, value: dict[str, Any] | list[Any]) -> None:
        if event.tag not in (None, "!", f"{_TAG}map" if isinstance(value, dict) else f"{_TAG}seq"):
            raise self._error(event, f"the tag {shown(event.tag)} is not supported; write plain data")
        if len(self._stack) >= self._limits.depth:
            raise self._error(event, too_deep(self._limits.depth))
        if self._expects_key():
            raise self._error(event, "a key must be text, not a list or mapping")
        self._count(event, 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(value, event.anchor, self._nodes))

    def _end(self, event: Any) -> None:
        done = self._stack.pop()
        if done.merged is not None and isinstance(done.value, dict):
            for mapping in done.merged:
                for key, value in mapping.items():
                    done.value.setdefault(key, value)
        if done.anchor is not None:
            self._anchors[done.anchor] = _Anchored(done.value, done.height, 1 + self._nodes - done.nodes_before)
        if self._stack:
            self._stack[-1].height = max(self._stack[-1].height, done.height + 1)
        self._add(event, done.value)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise self._error(event, f"the alias *{event.anchor} has no anchor &{event.anchor} before it")
        target = self._anchors[event.anchor]
        if target is None:
            raise self._error(event, f"the alias *{event.anchor} is inside the value it stands for")
        if len(self._stack) + target.height > self._limits.depth:
            raise self._error(event, too_deep(self._limits.depth))
        self._count(event, target.nodes)
        if self._stack:
            self._stack[-1].height = max(self._stack[-1].height, target.height + 1)
        self._add(event, target.value)

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > self._limits.nodes:
            raise self._error(event, f"the text expands to more than {self._limits.nodes} values")

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _add(self, event: Any, value: Any, *, plain: bool = False) -> None:
        if not self._stack:
            self._result = value
            return
        parent = self._stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is None:
            self._add_key(event, parent, value, plain=plain)
        elif parent.key == "<<" and parent.merged == []:
            self._merge(event, parent, value)
        else:
            parent.value[parent.key] = value
            parent.key = None

    def _add_key(self, event: Any, parent: _Open, key: Any, *, plain: bool) -> None:
        if not isinstance(key, str):
            written = getattr(event, "value", None)
            hint = f'; write it in quotes: "{written}"' if written else ""
            raise self._error(event, f"a key must be text, this one is read as {_type_name(key)}{hint}")
        if key == "<<" and plain:
            if parent.merged is not None:
                raise self._error(event, 'the key "<<" is given twice')
            parent.merged = []
        elif key in parent.value:
            raise self._error(event, f"the key {shown(key)} is given twice")
        parent.key = key

    def _merge(self, event: Any, parent: _Open, value: Any) -> None:
        mappings = value if isinstance(value, list) else [value]
        if not mappings or not all(isinstance(item, dict) for item in mappings):
            raise self._error(event, 'the value of "<<" must be a mapping or a list of mappings')
        parent.merged = mappings
        parent.key = None

    def _error(self, event: Any, problem: str) -> BadRequest:
        return BadRequest(f"{_at(event.start_mark)}{problem}")


def _plain(text: str) -> Any:
    """What an unquoted scalar means."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _NOT_FINITE.fullmatch(text):
        raise BadRequest(f"{text} is not a finite number")
    digits = text.replace("_", "") if text[0] != "." else text
    for base, pattern in _INTEGERS:
        if match := pattern.fullmatch(digits):
            return integer(match[1] + match[2], base)
    return finite_float(digits) if _FLOAT.fullmatch(digits) else text


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return "a number" if isinstance(value, int | float) else "a list or mapping"


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text:
        style = "|"
    elif _would_not_stay_text(dumper, text):
        style = '"'
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


def _would_not_stay_text(dumper: _Dumper, text: str) -> bool:
    """Read back unquoted, here or by another YAML 1.1 reader, it would be a number, a boolean or a time."""
    if text[:1] and text[0] not in _MAY_BE_NO_TEXT and text[0] not in "<=":
        return False
    resolved = dumper.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # types-PyYAML
    if resolved != f"{_TAG}str":
        return True
    try:
        return not isinstance(_plain(text), str)
    except BadRequest:
        return True


def _represent_float(dumper: _Dumper, value: float) -> yaml.ScalarNode:
    if value.is_integer() and abs(value) < 1e21:
        return dumper.represent_int(int(value))
    return dumper.represent_float(value)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_float)


def dump_yaml(value: Any, *, sort_keys: bool = True) -> str:
    """JSON data as YAML in the style of sigs.k8s.io/yaml: block style, lists not indented, long lines kept."""
    return yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=False,
        allow_unicode=True,
        width=2**31 - 1,
        sort_keys=sort_keys,
    )

"""Filling in ``{{ variables }}`` in the files that users give to ``kumactl apply`` and ``kuma-dp run``.

The Mustache that Kuma's tools understand: ``{{x}}`` is HTML-escaped, ``{{{x}}}`` and ``{{&x}}`` are not, a dotted
variable nests (``a.b=1`` serves ``{{ a.b }}`` and ``{{#a}}{{b}}{{/a}}``), what is missing is empty, ``{{#x}}…{{/x}}``
appears when ``x`` is given and not empty, ``{{^x}}…{{/x}}`` otherwise, ``{{! comment }}`` vanishes. There are no
loops, so time is linear in template plus output, and the output is limited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kuma.core.errors import BadRequest, TooLarge

MAX_OUTPUT: Final = 5 * 1024 * 1024
_MAX_SECTION_DEPTH: Final = 100
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"})


def render(text: str, variables: Mapping[str, str], max_output: int = MAX_OUTPUT) -> str:
    """
    The text with its tags replaced.

    Raises:
        BadRequest: a tag or section is not closed, or is of a sort that is not supported; the text names the line.
        TooLarge: template or result over ``max_output`` characters.
    """
    if len(text) > max_output:
        raise TooLarge(f"the template has {len(text)} characters, the limit is {max_output}")
    output: list[str] = []
    size = 0
    for piece in _pieces(text, _nested(variables)):
        size += len(piece)
        if size > max_output:
            raise TooLarge(f"the template renders to more than {max_output} characters")
        output.append(piece)
    return "".join(output)


@dataclass(frozen=True, slots=True)
class _Tag:
    sigil: str  # one of # ^ / ! & or empty
    name: str
    line: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Section:
    tag: _Tag
    shown: bool
    scopes: tuple[Any, ...]


def _pieces(text: str, variables: Mapping[str, Any]) -> Iterator[str]:
    sections: list[_Section] = []
    shown = True
    scopes: tuple[Any, ...] = (variables,)
    position = 0
    for tag in _tags(text):
        stop, go_on = _without_own_line(text, tag)
        if shown and position < stop:
            yield text[position:stop]
        position = go_on
        if tag.sigil in ("#", "^"):
            if len(sections) >= _MAX_SECTION_DEPTH:
                raise BadRequest(f"line {tag.line}: sections nested deeper than {_MAX_SECTION_DEPTH} levels")
            sections.append(_Section(tag, shown, scopes))
            value = _lookup(scopes, tag.name)
            given = bool(value.strip()) if isinstance(value, str) else value is not None
            shown = shown and given == (tag.sigil == "#")
            if given and tag.sigil == "#":
                scopes = (*scopes, value)
        elif tag.sigil == "/":
            if not sections or sections[-1].tag.name != tag.name:
                raise BadRequest(f"line {tag.line}: {{{{/{tag.name}}}}} closes a section that is not open here")
            section = sections.pop()
            shown, scopes = section.shown, section.scopes
        elif tag.sigil != "!" and shown:
            value = _lookup(scopes, tag.name)
            if isinstance(value, str):
                yield value if tag.sigil == "&" else value.translate(_ESCAPES)
    if sections:
        opened = sections[-1].tag
        raise BadRequest(f"line {opened.line}: section {{{{{opened.sigil}{opened.name}}}}} is never closed")
    yield text[position:]


def _tags(text: str) -> Iterator[_Tag]:
    line, counted, position = 1, 0, 0
    while (start := text.find("{{", position)) >= 0:
        line += text.count("\n", counted, start)
        counted = start
        opening, closing = ("{{{", "}}}") if text.startswith("{{{", start) else ("{{", "}}")
        stop = text.find(closing, start + len(opening))
        if stop < 0:
            raise BadRequest(f"line {line}: {opening} is never closed by {closing}")
        position = stop + len(closing)
        content = text[start + len(opening) : stop].strip()
        sigil = "&" if opening == "{{{" else content[:1]
        if sigil in (">", "="):
            kind = "partials" if sigil == ">" else "other delimiters"
            raise BadRequest(f"line {line}: {kind} ({{{{{sigil}) are not supported in templates")
        if opening == "{{" and sigil in ("#", "^", "/", "!", "&"):
            content = content[1:].strip()
        elif opening == "{{":
            sigil = ""
        if not content and sigil != "!":
            raise BadRequest(f"line {line}: empty tag {{{{}}}}")
        yield _Tag(sigil, content, line, start, position)


def _without_own_line(text: str, tag: _Tag) -> tuple[int, int]:
    """Where text stops before a tag and goes on after it: sections and comments alone on a line take it with them."""
    if tag.sigil not in ("#", "^", "/", "!"):
        return tag.start, tag.end
    before = tag.start
    while before and text[before - 1] in " \t":
        before -= 1
    after = tag.end
    while after < len(text) and text[after] in " \t\r":
        after += 1
    if (before and text[before - 1] != "\n") or (after < len(text) and text[after] != "\n"):
        return tag.start, tag.end
    return before, min(after + 1, len(text))


def _nested(variables: Mapping[str, str]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for name, value in variables.items():
        *path, last = name.split(".")
        scope = root
        for part in path:
            below = scope.setdefault(part, {})
            if not isinstance(below, dict):
                raise BadRequest(_clash(name))
            scope = below
        if isinstance(scope.get(last), dict):
            raise BadRequest(_clash(name))
        scope[last] = value
    return root


def _clash(name: str) -> str:
    return f'the variable "{name}" cannot be both a value and the parent of another variable; rename one of them'


def _lookup(scopes: tuple[Any, ...], name: str) -> Any:
    if name == ".":
        return scopes[-1]
    first, *rest = name.split(".")
    value: Any = next((s[first] for s in reversed(scopes) if isinstance(s, dict) and first in s), None)
    for part in rest:
        value = value.get(part) if isinstance(value, dict) else None
    return value

"""How confs of several policies become one (spec/policies.md §2, "Merge semantics")."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from kuma.core.model.resource import Key
from kuma.core.model.spec import Spec
from kuma.core.policies._kit.rules import Merged

C = TypeVar("C", bound=Spec)


def merge(
    conf_type: type[C], parts: Iterable[tuple[C, Key]], combine: Callable[[Iterable[C]], C] | None = None
) -> Merged[C] | None:
    """
    One conf from parts in ascending priority; None when there is no part. ``combine`` is a kind's own way to merge.

    Objects merge deeply, scalars and lists replace (RFC 7386), lists named ``append…`` concatenate.
    """
    listed = tuple(parts)
    if not listed:
        return None
    confs = (conf for conf, _ in listed)
    merged = _merged(conf_type, confs) if combine is None else combine(confs)
    return Merged(merged, tuple(dict.fromkeys(origin for _, origin in listed)), conf_text(merged))


def _merged(conf_type: type[C], confs: Iterable[C]) -> C:
    whole: dict[str, Any] = {}
    for conf in confs:
        _merge_into(whole, conf.to_json())
    return conf_type.model_validate(whole, strict=False)


def sources(parts: Iterable[tuple[Spec, Key]]) -> dict[str, tuple[Key, ...]]:
    """
    Where each value of a merged conf came from: by its path (``http.requestTimeout``), the policies that put it there.

    A value has one source, the last that set it; a list named ``append…`` has all that added to it.
    """
    found: dict[str, tuple[Key, ...]] = {}
    for conf, origin in parts:
        _note_sources(found, "", conf.to_json(), origin)
    return found


def _note_sources(found: dict[str, tuple[Key, ...]], path: str, value: dict[str, Any], origin: Key) -> None:
    for name, item in value.items():
        here = f"{path}{name}"
        if isinstance(item, dict):
            found.pop(here, None)
            _note_sources(found, f"{here}.", item, origin)
            continue
        for known in [known for known in found if known.startswith(f"{here}.")]:
            del found[known]
        earlier = found.get(here, ()) if name.startswith("append") and isinstance(item, list) else ()
        found[here] = tuple(dict.fromkeys((*earlier, origin)))


def conf_text(conf: Spec) -> str:
    """A conf as JSON with sorted keys: equal confs have equal texts."""
    return json.dumps(conf.to_json(), sort_keys=True, separators=(",", ":"))


def _merge_into(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        present = target.get(name)
        if isinstance(value, dict):
            inner = dict(present) if isinstance(present, dict) else {}
            _merge_into(inner, value)
            target[name] = inner
        elif name.startswith("append") and isinstance(value, list) and isinstance(present, list):
            target[name] = present + value
        else:
            target[name] = value

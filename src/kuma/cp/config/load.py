"""Load kuma-cp's settings: built-in defaults, then the file, then the environment; then check the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from kuma.core.errors import ConfigInvalid
from kuma.cp.config.environment import misspelt_variables, read_environment
from kuma.cp.config.sections.mesh import CORE_RESOURCES, POLICIES
from kuma.cp.config.source_file import read_file
from kuma.cp.config.table import Kind, Setting, settings
from kuma.cp.config.tls import OLDEST, VERSIONS, available
from kuma.cp.config.tree import KUBERNETES, Config
from kuma.cp.config.validate import faults

Values = dict[Setting, Any]

_RENAMED: Final = {
    "metrics.mesh.minResyncTimeout": "metrics.mesh.minResyncInterval",
    "metrics.mesh.maxResyncTimeout": "metrics.mesh.fullResyncInterval",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and what to tell the operator about them; each entry is one sentence without a prefix."""

    config: Config
    deprecations: tuple[str, ...]
    warnings: tuple[str, ...]


def load(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """
    Load the settings of kuma-cp.

    Args:
        path: the configuration file, None for none.
        environ: the environment; it wins over the file.

    Raises:
        ConfigInvalid: the file or a variable cannot be read, or the settings contradict a rule. All faults of one
            step are named at once, each with its key or variable.
    """
    from_file: Values = read_file(path) if path is not None else {}
    from_environment = read_environment(environ)
    changed = from_file | from_environment
    warnings = (*misspelt_variables(environ), *_without_effect(changed, from_environment))
    deprecations = tuple(f"{row.key}: {row.deprecated}" for row in changed if row.deprecated and _differs(row, changed))
    wrapper = "configuration validation failed: "
    if path is not None:
        wrapper = f"parsing configuration from file '{path}' failed: {wrapper}"
    config = _build(_merged(from_file, from_environment), from_environment, wrapper)
    wrong = faults(config)
    if wrong:
        raise ConfigInvalid(wrapper + "; ".join(wrong))
    return Loaded(config, deprecations, (*warnings, *_tls_notes(changed, from_environment), *_unknown_kinds(config)))


def given(path: Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """What file and environment set, by key, before anything is checked. Raises ``ConfigInvalid``: cannot be read."""
    from_file: Values = read_file(path) if path is not None else {}
    return {row.key: value for row, value in (from_file | read_environment(environ)).items()}


@cache
def _defaults() -> Config:
    return Config()


def _merged(from_file: Values, from_environment: Values) -> Values:
    """The defaults, overlaid; a map in the file adds to the default one, as it does in Go, a variable replaces it."""
    values = {row: row.of(_defaults()) for row in settings()}
    for row, value in from_file.items():
        values[row] = {**values[row], **value} if row.kind is Kind.TEXT_MAP else value
    values |= from_environment
    given = from_file | from_environment
    by_key = {row.key: row for row in values}
    for old, new in _RENAMED.items():
        if values[by_key[old]] > timedelta(0) and by_key[new] not in given:
            values[by_key[new]] = values[by_key[old]]
    if values[by_key["environment"]] == KUBERNETES and by_key["store.type"] not in given:
        values[by_key["store.type"]] = "kubernetes"
    return {row: dict(value) if row.kind is Kind.TEXT_MAP else value for row, value in values.items()}


def _build(values: Values, from_environment: Values, wrapper: str) -> Config:
    tree: dict[str, Any] = {}
    for row, value in values.items():
        at = tree
        for name in row.path[:-1]:
            at = at.setdefault(name, {})
        at[row.path[-1]] = value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        origin = {row.path: row.env if row in from_environment else row.key for row in values}
        wrong = "; ".join(
            f"{origin.get(tuple(map(str, fault['loc'])), '.'.join(map(str, fault['loc'])))} {_reason(fault)}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ConfigInvalid(wrapper + wrong) from None


def _reason(fault: Mapping[str, Any]) -> str:
    context = fault.get("ctx", {})
    match fault["type"]:
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case _:
            return str(fault["msg"])


def _without_effect(given: Values, from_environment: Values) -> Iterator[str]:
    """One warning for each setting that was changed in vain."""
    environment = next((value for row, value in given.items() if row.key == "environment"), None)
    idle = ("runtime", "universal") if environment == KUBERNETES else ("runtime", "kubernetes")
    for row in given:
        why = f"it applies to the other environment, see {idle[0]}" if row.path[:2] == idle else row.inert
        if why and _differs(row, given):
            name = row.env if row in from_environment else row.key
            yield f"{name} has no effect: {why}"


def _tls_notes(given: Values, from_environment: Values) -> Iterator[str]:
    """What TLS settings ask for and do not get."""
    for row, value in given.items():
        name = row.env if row in from_environment else row.key
        if row.path[-1] == "tlsMinVersion" and value and VERSIONS[value] < OLDEST:
            yield f"{name}: {value} is not spoken here, the oldest version is TLSv1_2"
        if row.path[-1] == "tlsCipherSuites":
            yield from (
                f"{name}: OpenSSL here has no {suite}, it is left out" for suite in value if not available(suite)
            )


def _differs(row: Setting, given: Values) -> bool:
    return bool(given[row] != row.of(_defaults()))


def _unknown_kinds(config: Config) -> Iterator[str]:
    lists = (
        ("policies.pluginPoliciesEnabled", config.policies.plugin_policies_enabled, POLICIES),
        ("coreResources.enabled", config.core_resources.enabled, CORE_RESOURCES),
    )
    for key, names, known in lists:
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                yield f"{key}: {name!r} is not known" + (f"; did you mean {near[0]!r}?" if near else "")

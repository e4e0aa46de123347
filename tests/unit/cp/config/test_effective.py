"""``GET /config`` shows what is in force, under Kuma's names, without secrets."""

import json
from pathlib import Path

import pytest
import yaml

from kuma.core.units import format_duration, parse_duration
from kuma.cp.config import Config, effective, load
from kuma.cp.config.table import Kind, settings

REFERENCE = Path(__file__).parents[5] / "shared" / "reference" / "kuma-cp.defaults.yaml"

# What we decided differently from Kuma; everything else has Kuma's default.
DIFFERENT = {
    "store.type": "sqlite",
    "experimental.deltaXds": True,
}


def test_durations_print_as_go_prints_them():
    """A duration reads the way Kuma's users know it."""
    shown = effective(Config())

    assert shown["general"]["dnsCacheTTL"] == "10s"
    assert shown["general"]["resilientComponentMaxBackoff"] == "1m0s"
    assert shown["runtime"]["universal"]["dataplaneCleanupAge"] == "72h0m0s"
    assert shown["store"]["upsert"]["conflictRetryBaseBackoff"] == "200ms"
    assert shown["metrics"]["mesh"]["minResyncTimeout"] == "0s"


def test_the_mode_is_shown_in_kumas_word():
    """`standalone` is `zone` to the GUI and to scripts."""
    assert effective(load(None, {"KUMA_MODE": "standalone"}).config)["mode"] == "zone"
    assert effective(load(None, {"KUMA_MODE": "zone"}).config)["mode"] == "zone"


def test_secrets_are_masked():
    """Neither the database password nor the encryption key leaves the process."""
    environ = {"KUMA_STORE_POSTGRES_PASSWORD": "hunter2", "KUMA_STORE_ENCRYPTION_KEY": "hunter3"}

    shown = effective(load(None, environ).config)

    assert shown["store"]["postgres"]["password"] == "*****"
    assert shown["store"]["encryption"]["key"] == "*****"
    assert "hunter" not in json.dumps(shown)


def test_public_keys_are_shown(tmp_path: Path):
    """Public keys are public."""
    path = tmp_path / "kuma-cp.yaml"
    path.write_text("apiServer: {authn: {tokens: {validator: {publicKeys: [{kid: 1, keyFile: /key.pem}]}}}}\n")

    shown = effective(load(path, {}).config)

    assert shown["apiServer"]["authn"]["tokens"]["validator"]["publicKeys"] == [{"kid": "1", "keyFile": "/key.pem"}]


def test_the_capitalised_key_is_kept():
    """Kuma prints one key with a capital; clients may read it."""
    assert effective(Config())["defaults"]["SkipHostnameGenerators"] is False


def test_what_is_shown_can_be_loaded_again(tmp_path: Path):
    """The answer of ``GET /config`` is itself a configuration file."""
    config = load(None, {"KUMA_DP_SERVER_PORT": "1234", "KUMA_MODE": "zone"}).config
    path = tmp_path / "kuma-cp.json"
    shown = effective(config)
    shown["store"]["postgres"]["password"] = "kuma"
    path.write_text(json.dumps(shown))

    assert load(path, {}).config == config


def test_every_key_of_kumas_default_configuration_has_its_default():
    """The whole tree of Kuma's defaults is shown, with the same values but for the listed differences."""
    if not REFERENCE.exists():
        pytest.skip(f"no reference configuration at {REFERENCE}")
    wanted = _leaves(yaml.safe_load(REFERENCE.read_text()))
    shown = effective(Config())
    rows = {row.key.lower(): row for row in settings()}

    different = {}
    for key, value in wanted.items():
        row = next(rows[prefix] for prefix in _prefixes(key.lower()) if prefix in rows)
        ours = shown
        for part in row.path:
            ours = ours[part]
        if row.kind is Kind.TEXT_MAP:
            ours = ours.get(key[len(row.key) + 1 :], ours)
        if row.kind is Kind.DURATION:
            value = format_duration(parse_duration(value))  # noqa: PLW2901 - the same value, as Go prints it
        if row.secret:
            assert ours == "*****"
        elif ours != ("" if value is None else value):
            different[row.key] = ours

    assert len(wanted) > 300
    assert different == DIFFERENT


def _leaves(node: object, path: str = "") -> dict[str, object]:
    if not isinstance(node, dict) or not node:
        return {path: node}
    leaves: dict[str, object] = {}
    for name, child in node.items():
        leaves |= _leaves(child, f"{path}.{name}" if path else name)
    return leaves


def _prefixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]

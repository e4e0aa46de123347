"""The names of the settings are an interface: files and deployments of Kuma users carry them."""

import re
from pathlib import Path

import pytest

import kuma.cp
from kuma.cp.config.environment import MISPRINTED
from kuma.cp.config.table import by_env, settings

NAMES = Path(__file__).with_name("names.txt")
REFERENCE = Path(__file__).parents[5] / "shared" / "reference" / "kuma-cp.defaults.yaml"


def test_no_name_changes_unnoticed():
    """Every key and variable is listed in names.txt; a change there is a change of the interface."""
    listed = [tuple(line.split()) for line in NAMES.read_text().splitlines() if not line.startswith("#")]

    assert [(row.key, row.env or "-") for row in settings()] == listed


def test_no_two_settings_share_a_variable():
    """One variable sets one setting."""
    with_variable = [row for row in settings() if row.env is not None]

    assert len(by_env()) == len(with_variable)


def test_every_variable_named_in_kumas_reference_is_known():
    """Each variable in the comments of Kuma's default configuration is read, but for its three misprints."""
    if not REFERENCE.exists():
        pytest.skip(f"no reference configuration at {REFERENCE}")
    named = {name.upper() for name in re.findall(r"ENV ?:? *(\w+)", REFERENCE.read_text())}

    assert len(named) > 300
    assert named - by_env().keys() == MISPRINTED.keys()
    assert set(MISPRINTED.values()) <= by_env().keys()


@pytest.mark.parametrize(
    ("env", "key"),
    [
        ("KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY", "xdsServer.dataplaneDeregistrationDelay"),
        ("KUMA_PLUGIN_POLICIES_ENABLED", "policies.pluginPoliciesEnabled"),
        ("KUMA_ACCESS_STATIC_GET_CONFIG_DUMP_USERS", "access.static.viewConfigDump.users"),
        ("KUMA_DP_SERVER_HDS_CHECK_NO_TRAFFIC_INTERVAL", "dpServer.hds.checkDefaults.noTrafficInterval"),
        ("KUMA_METRICS_OPENTELEMETRY_ENABLED", "metrics.openTelemetry.enabled"),
        ("KUMA_STORE_POSTGRES_TLS_DISABLE_SSLSNI", "store.postgres.tls.disableSSLSNI"),
        ("KUMA_DEFAULTS_SKIP_HOSTNAME_GENERATORS", "defaults.SkipHostnameGenerators"),
        ("KUMA_INJECTOR_INIT_CONTAINER_IMAGE", "runtime.kubernetes.injector.initContainer.image"),
        (
            "KUMA_RUNTIME_KUBERNETES_INJECTOR_SIDECAR_CONTAINER_GUI",
            "runtime.kubernetes.injector.sidecarContainer.gid",
        ),
    ],
)
def test_irregular_names_are_kumas(env: str, key: str):
    """Where Kuma's names follow no rule, ours do not either."""
    assert by_env()[env].key == key


def test_a_setting_that_is_read_nowhere_says_so():
    """What has no effect must not look as if it had; Postgres and Kubernetes are waited for as a whole."""
    package = Path(kuma.cp.__file__).parent
    readers = [path for path in package.rglob("*.py") if path.parent.name != "sections" and path.stem != "validate"]
    words = {word for path in readers for word in re.findall(r"\w+", path.read_text())}
    waiting = ("runtime.kubernetes.", "store.postgres.")

    silent = [
        row.key
        for row in settings()
        if not (row.inert or row.deprecated or row.key.startswith(waiting)) and row.attributes[-1] not in words
    ]

    assert silent == []

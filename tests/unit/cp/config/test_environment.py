"""The environment: every variable sets its setting, nonsense names the variable, foreign variables do no harm."""

from datetime import timedelta

import pytest

from kuma.core.units import format_duration
from kuma.cp.config import ConfigInvalid, effective, load
from kuma.cp.config.table import Kind, Setting, by_env

BY_KIND = {
    Kind.TEXT: ("some-text", "some-text"),
    Kind.WHOLE: ("7", 7),
    Kind.DURATION: ("77s", format_duration(timedelta(seconds=77))),
    Kind.TEXTS: ("a,b", ["a", "b"]),
    Kind.WHOLES: ("1,22", [1, 22]),
    Kind.TEXT_MAP: ("a:b,c:d", {"a": "b", "c": "d"}),
}
LEGAL_TEXT = {
    "KUMA_ENVIRONMENT": "kubernetes",
    "KUMA_MODE": "zone",
    "KUMA_STORE_TYPE": "memory",
    "KUMA_ACCESS_TYPE": "static",
    "KUMA_API_SERVER_AUTHN_TYPE": "adminClientCerts",
    "KUMA_API_SERVER_BASE_PATH": "/base",
    "KUMA_API_SERVER_GUI_BASE_PATH": "/base",
    "KUMA_API_SERVER_ROOT_URL": "https://kuma.example",
    "KUMA_API_SERVER_GUI_ROOT_URL": "https://kuma.example",
    "KUMA_BOOTSTRAP_SERVER_PARAMS_ADMIN_ADDRESS": "127.0.0.2",
    "KUMA_DNS_SERVER_CIDR": "10.0.0.0/8",
    "KUMA_DP_SERVER_AUTHN_DP_PROXY_TYPE": "none",
    "KUMA_DP_SERVER_AUTHN_ZONE_PROXY_TYPE": "none",
    "KUMA_INTER_CP_CATALOG_INSTANCE_ADDRESS": "10.0.0.1",
    "KUMA_IPAM_MESH_SERVICE_CIDR": "10.0.0.0/8",
    "KUMA_IPAM_MESH_EXTERNAL_SERVICE_CIDR": "10.0.0.0/8",
    "KUMA_IPAM_MESH_MULTI_ZONE_SERVICE_CIDR": "10.0.0.0/8",
    "KUMA_MULTIZONE_ZONE_GLOBAL_ADDRESS": "grpcs://global.example:5685",
}
LEGAL_LISTS = {
    "KUMA_MONITORING_ASSIGNMENT_SERVER_API_VERSIONS": ("v1,v1", ["v1", "v1"]),
    "KUMA_IPAM_KNOWN_INTERNAL_CIDRS": ("10.0.0.0/8,fd00::/8", ["10.0.0.0/8", "fd00::/8"]),
}
NEEDED_BESIDE = {
    "KUMA_ENVIRONMENT": {"KUMA_RUNTIME_KUBERNETES_ADMISSION_SERVER_CERT_DIR": "/certs"},
    "KUMA_METRICS_MESH_MIN_RESYNC_INTERVAL": {"KUMA_METRICS_MESH_FULL_RESYNC_INTERVAL": "10m"},
    "KUMA_METRICS_MESH_MIN_RESYNC_TIMEOUT": {"KUMA_METRICS_MESH_FULL_RESYNC_INTERVAL": "10m"},
    "KUMA_GENERAL_RESILIENT_COMPONENT_BASE_BACKOFF": {"KUMA_GENERAL_RESILIENT_COMPONENT_MAX_BACKOFF": "10m"},
}


def sample(row: Setting, name: str) -> tuple[str, object]:
    """A legal text for a variable that is not the default, and what ``GET /config`` then shows."""
    if name.endswith("_VERSION"):
        return "TLSv1_3", "TLSv1_3"
    if name.endswith("_CIPHER_SUITES"):
        return "TLS_AES_128_GCM_SHA256", ["TLS_AES_128_GCM_SHA256"]
    if name in LEGAL_LISTS:
        return LEGAL_LISTS[name]
    if name in LEGAL_TEXT:
        return LEGAL_TEXT[name], LEGAL_TEXT[name]
    if row.kind is Kind.FLAG:
        default = row.of(load(None, {}).config)
        return ("false", False) if default else ("true", True)
    text, shown = BY_KIND[row.kind]
    return text, "*****" if row.secret else shown


def companions(name: str) -> dict[str, str]:
    """Other variables without which the value of this one would be refused."""
    if name.endswith("TLS_CERT_FILE"):
        return {name.replace("_CERT_FILE", "_KEY_FILE"): "/key"}
    if name.endswith("TLS_KEY_FILE"):
        return {name.replace("_KEY_FILE", "_CERT_FILE"): "/cert"}
    return NEEDED_BESIDE.get(name, {})


@pytest.mark.parametrize("name", sorted(by_env()))
def test_every_variable_sets_its_setting(name: str):
    """A variable's value is what the control plane then runs with and shows."""
    row = by_env()[name]
    text, expected = sample(row, name)

    shown = effective(load(None, {name: text, **companions(name)}).config)

    for part in row.path:
        shown = shown[part]
    assert shown == expected


NEVER_EMPTY = {"KUMA_MONITORING_ASSIGNMENT_SERVER_API_VERSIONS"}


@pytest.mark.parametrize(
    "name", sorted(name for name, row in by_env().items() if row.kind is not Kind.TEXT and name not in NEVER_EMPTY)
)
def test_nonsense_and_emptiness_name_the_variable(name: str):
    """A list may be empty; an empty or foolish number, flag or duration stops the start and says which variable."""
    row = by_env()[name]
    if row.kind in (Kind.TEXTS, Kind.WHOLES, Kind.TEXT_MAP):
        assert not row.of(load(None, {name: ""}).config)
    else:
        with pytest.raises(ConfigInvalid, match=rf"{name}: an empty text is not {row.kind.value}"):
            load(None, {name: ""})
    if row.kind is not Kind.TEXTS:
        with pytest.raises(ConfigInvalid, match=rf"{name}: 'nonsense' is not "):
            load(None, {name: "nonsense"})


def test_all_bad_variables_are_named_at_once():
    """Correcting an environment takes one try."""
    with pytest.raises(ConfigInvalid) as caught:
        load(None, {"KUMA_DP_SERVER_PORT": "many", "KUMA_STORE_CACHE_ENABLED": "yes"})

    assert "KUMA_DP_SERVER_PORT: 'many' is not a whole number" in str(caught.value)
    assert "KUMA_STORE_CACHE_ENABLED: 'yes' is not true or false" in str(caught.value)


def test_a_port_out_of_range_names_the_variable():
    """A value of the right kind that is out of range is reported by the name it was given under."""
    with pytest.raises(ConfigInvalid, match="KUMA_DP_SERVER_PORT must be at most 65535"):
        load(None, {"KUMA_DP_SERVER_PORT": "70000"})


def test_lists_are_not_trimmed():
    """A list is split at commas and nowhere else."""
    config = load(None, {"KUMA_ACCESS_STATIC_ADMIN_RESOURCES_USERS": "a, b"}).config

    assert config.access.static.admin_resources.users == ("a", " b")


def test_a_misspelt_variable_is_mentioned():
    """A variable that nearly has the name of a setting is a slip; the operator is told what is read."""
    warnings = load(None, {"KUMA_STORE_POSTGRES_PASSWORT": "x"}).warnings

    assert warnings == (
        "the environment variable KUMA_STORE_POSTGRES_PASSWORT is not read; did you mean KUMA_STORE_POSTGRES_PASSWORD?",
    )


def test_the_misprints_of_kumas_documentation_are_explained():
    """Somebody who followed the wrong comment learns the right name."""
    (warning,) = load(None, {"KUMA_STORE_POSTGRES_TLS_ROOT_CERT_PATH": "/ca.pem"}).warnings

    assert "did you mean KUMA_STORE_POSTGRES_TLS_CA_PATH?" in warning


def test_a_variable_in_small_letters_is_mentioned():
    """Names are capitals; the same name in small letters is not read, and that is said."""
    loaded = load(None, {"kuma_store_type": "memory"})

    assert loaded.config.store.type == "sqlite"
    assert "did you mean KUMA_STORE_TYPE?" in loaded.warnings[0]


@pytest.mark.parametrize(
    "name",
    [
        "KUMA_CONTROL_PLANE_URL",
        "KUMA_DATAPLANE_RESILIENT_COMPONENT_BASE_BACKOFF",
        "KUMA_DATAPLANE_MESH",
        "KUMA_DNS_ENABLED",
        "KUMA_DNS_CORE_DNS_PORT",
        "KUMA_DNS_PROMETHEUS_PORT",
        "KUMA_READINESS_PORT",
        "KUMA_CP_CONTAINER_ID",
        "KUMATIC_MODE",
        "PATH",
    ],
)
def test_variables_of_other_programs_are_left_alone(name: str):
    """A data plane proxy on the same machine, or any other program, does not disturb the control plane."""
    assert load(None, {name: "x"}).warnings == ()

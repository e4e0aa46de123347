"""Where a setting's value comes from, what the operator is told, and which contradictions stop the start."""

from datetime import timedelta
from pathlib import Path

import pytest

from kuma.core.errors import MeshError
from kuma.cp.config import Config, ConfigInvalid, load

REFERENCE = Path(__file__).parents[5] / "shared" / "reference" / "kuma-cp.defaults.yaml"


def test_without_file_and_environment_the_control_plane_is_standalone_and_durable():
    """No configuration at all is a standalone control plane on SQLite with delta xDS."""
    loaded = load(None, {})

    assert loaded.config.mode == "standalone"
    assert loaded.config.is_standalone
    assert loaded.config.store.type == "sqlite"
    assert loaded.config.experimental.delta_xds
    assert loaded.warnings == loaded.deprecations == ()


def test_environment_wins_over_file_and_file_over_default(tmp_path: Path):
    """Setting by setting: the variable, else the file, else the default."""
    path = tmp_path / "kuma-cp.yaml"
    path.write_text("dpServer:\n  port: 1111\n  readHeaderTimeout: 7s\n")

    server = load(path, {"KUMA_DP_SERVER_PORT": "2222"}).config.dp_server

    assert server.port == 2222
    assert server.read_header_timeout == timedelta(seconds=7)
    assert server.graceful_shutdown_timeout == timedelta(seconds=10)


def test_kumas_own_default_configuration_starts_without_a_word():
    """The commented default file of Kuma is accepted as it is."""
    if not REFERENCE.exists():
        pytest.skip(f"no reference configuration at {REFERENCE}")

    loaded = load(REFERENCE, {})

    assert loaded.config.store.type == "memory"
    assert loaded.config.is_standalone
    assert loaded.warnings == loaded.deprecations == ()


def test_settings_cannot_be_changed_after_loading():
    """What was checked is what runs."""
    with pytest.raises(ValueError, match="frozen"):
        load(None, {}).config.dp_server.port = 1


def test_secrets_stay_out_of_a_printed_configuration():
    """A configuration that lands in a log by mistake shows no password."""
    config = load(None, {"KUMA_STORE_POSTGRES_PASSWORD": "hunter2", "KUMA_STORE_ENCRYPTION_KEY": "hunter3"}).config

    assert "hunter" not in repr(config)


@pytest.mark.parametrize("mode", ["standalone", "zone"])
def test_both_words_for_standalone_are_welcome(mode: str):
    """Neither `standalone` nor `zone` draws a notice."""
    loaded = load(None, {"KUMA_MODE": mode})

    assert loaded.config.is_standalone
    assert loaded.warnings == loaded.deprecations == ()


def test_global_mode_is_refused_with_the_way_out():
    """A global control plane is another product; the message says what to use."""
    with pytest.raises(ConfigInvalid, match="mode global is not supported by this product; use standalone"):
        load(None, {"KUMA_MODE": "global"})


@pytest.mark.parametrize("store", ["sqlite", "memory", "postgres", "kubernetes"])
def test_every_store_type_is_accepted(store: str):
    """All four stores may be named."""
    assert load(None, {"KUMA_STORE_TYPE": store}).config.store.type == store


def test_on_kubernetes_the_store_is_the_cluster_unless_told_otherwise():
    """An unset store type follows the environment."""
    environ = {"KUMA_ENVIRONMENT": "kubernetes", "KUMA_RUNTIME_KUBERNETES_ADMISSION_SERVER_CERT_DIR": "/certs"}

    assert load(None, environ).config.store.type == "kubernetes"
    assert load(None, environ | {"KUMA_STORE_TYPE": "memory"}).config.store.type == "memory"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"KUMA_MODE": "nowhere"},
            "Mode validation failed: invalid mode. Available modes: standalone, zone, global",
        ),
        (
            {"KUMA_STORE_TYPE": "pgx"},
            "Store validation failed: Type should be either postgres, kubernetes, memory or sqlite",
        ),
        ({"KUMA_ENVIRONMENT": "moon"}, "Environment should be either kubernetes or universal"),
    ],
)
def test_kumas_sentences(environ: dict[str, str], expected: str):
    """Messages that people search for are Kuma's to the letter."""
    with pytest.raises(MeshError) as caught:
        load(None, environ)

    assert str(caught.value) == f"configuration validation failed: {expected}"


def test_with_a_file_the_message_names_it(tmp_path: Path):
    """A rule broken in a file is wrapped with the file's name, as in Kuma."""
    path = tmp_path / "kuma-cp.yaml"
    path.write_text("store:\n  type: disk\n")

    with pytest.raises(ConfigInvalid) as caught:
        load(path, {})

    assert str(caught.value) == (
        f"parsing configuration from file '{path}' failed: configuration validation failed: "
        "Store validation failed: Type should be either postgres, kubernetes, memory or sqlite"
    )


def test_settings_without_effect_are_mentioned_once_each(tmp_path: Path):
    """What this product has no use for is accepted, and said."""
    path = tmp_path / "kuma-cp.yaml"
    path.write_text("store:\n  postgres:\n    readReplica:\n      host: replica\nmultizone:\n  global: {}\n")

    warnings = load(path, {"KUMA_STORE_POSTGRES_MAX_IDLE_CONNECTIONS": "7"}).warnings

    assert [warning.partition(":")[0] for warning in warnings] == [
        "store.postgres.readReplica.host has no effect",
        "KUMA_STORE_POSTGRES_MAX_IDLE_CONNECTIONS has no effect",
    ]


def test_a_default_repeated_is_not_worth_a_warning():
    """A full configuration file of Kuma does not flood the log."""
    assert load(None, {"KUMA_STORE_POSTGRES_DRIVER_NAME": "pgx"}).warnings == ()


def test_tls_that_is_asked_for_and_not_had_is_named():
    """An old version is allowed by the settings and never spoken; a suite that OpenSSL lacks is left out."""
    suites = "TLS_RSA_WITH_RC4_128_SHA,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    environ = {"KUMA_GENERAL_TLS_MIN_VERSION": "TLSv1_1", "KUMA_DP_SERVER_TLS_CIPHER_SUITES": suites}

    warnings = " ".join(load(None, environ).warnings)

    assert "KUMA_GENERAL_TLS_MIN_VERSION: TLSv1_1 is not spoken here" in warnings
    assert "KUMA_DP_SERVER_TLS_CIPHER_SUITES: OpenSSL here has no TLS_RSA_WITH_RC4_128_SHA" in warnings
    assert "AES_128_GCM" not in warnings


def test_settings_of_the_other_environment_are_mentioned():
    """Kubernetes settings on Universal change nothing, and that is said."""
    (warning,) = load(None, {"KUMA_RUNTIME_KUBERNETES_CLIENT_CONFIG_QPS": "5"}).warnings

    assert warning.startswith("KUMA_RUNTIME_KUBERNETES_CLIENT_CONFIG_QPS has no effect")


def test_a_policy_that_does_not_exist_is_mentioned():
    """A misspelt policy would silently be off; its name is questioned."""
    warning = " ".join(load(None, {"KUMA_PLUGIN_POLICIES_ENABLED": "meshtimeout"}).warnings)

    assert "did you mean 'meshtimeouts'?" in warning


def test_deprecated_settings_still_work():
    """An old name sets the new one, unless the new one is set as well, and its successor is named."""
    old = {"KUMA_METRICS_MESH_MAX_RESYNC_TIMEOUT": "40s"}

    alone = load(None, old)
    both = load(None, old | {"KUMA_METRICS_MESH_FULL_RESYNC_INTERVAL": "50s"})

    assert alone.config.metrics.mesh.full_resync_interval == timedelta(seconds=40)
    assert both.config.metrics.mesh.full_resync_interval == timedelta(seconds=50)
    assert alone.deprecations == ("metrics.mesh.maxResyncTimeout: use metrics.mesh.fullResyncInterval instead",)


def test_the_default_configuration_is_valid():
    """What ``Config`` is without any input is what loading without input gives."""
    assert load(None, {}).config == Config()

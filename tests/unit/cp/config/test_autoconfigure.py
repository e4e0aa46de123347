"""What the control plane fills in by itself, and what it leaves as a person set it."""

import pytest

from kuma.cp.config import Config, ConfigInvalid, autoconfigure, load, with_tls


def configured(**environ: str) -> Config:
    """The settings after loading and filling, on a machine with one address."""
    return autoconfigure(load(None, environ).config, home="/home/me", address="10.1.2.3")


def test_everything_lives_in_the_home_directory_by_default():
    """Database and key are in ``~/.kuma``."""
    config = configured()

    assert config.general.work_dir == "/home/me/.kuma"
    assert config.store.sqlite.path == "/home/me/.kuma/kuma.db"
    assert config.store.encryption.key_file == "/home/me/.kuma/store.key"


def test_a_work_directory_moves_everything():
    """Setting the work directory is enough."""
    config = configured(KUMA_GENERAL_WORK_DIR="/var/lib/kuma")

    assert config.store.sqlite.path == "/var/lib/kuma/kuma.db"
    assert config.store.encryption.key_file == "/var/lib/kuma/store.key"


def test_no_key_file_beside_a_given_key():
    """A key from the environment needs no file."""
    assert configured(KUMA_STORE_ENCRYPTION_KEY="x").store.encryption.key_file == ""


def test_replicas_must_be_given_their_key():
    """On Postgres each replica would otherwise invent its own key."""
    with pytest.raises(ConfigInvalid, match="KUMA_STORE_ENCRYPTION_KEY_FILE"):
        configured(KUMA_STORE_TYPE="postgres")

    config = configured(KUMA_STORE_TYPE="postgres", KUMA_STORE_ENCRYPTION_KEY_FILE="/key")
    assert config.store.encryption.key_file == "/key"


def test_proxies_authenticate_by_token_on_universal_and_by_account_on_kubernetes():
    """An unset type follows the environment, a set one stays."""
    universal = configured().dp_server.authn
    cluster = configured(
        KUMA_ENVIRONMENT="kubernetes", KUMA_RUNTIME_KUBERNETES_ADMISSION_SERVER_CERT_DIR="/certs"
    ).dp_server.authn
    none = configured(KUMA_DP_SERVER_AUTHN_DP_PROXY_TYPE="none").dp_server.authn

    assert (universal.dp_proxy.type, universal.zone_proxy.type) == ("dpToken", "zoneToken")
    assert (cluster.dp_proxy.type, cluster.zone_proxy.type) == ("serviceAccountToken", "serviceAccountToken")
    assert cluster.enable_reloadable_tokens
    assert not universal.enable_reloadable_tokens
    assert none.dp_proxy.type == "none"


def test_proxies_are_told_the_port_of_the_dp_server():
    """The bootstrap names the port the server listens on, unless told otherwise."""
    assert configured(KUMA_DP_SERVER_PORT="1234").bootstrap_server.params.xds_port == 1234
    assert configured(KUMA_BOOTSTRAP_SERVER_PARAMS_XDS_PORT="99").bootstrap_server.params.xds_port == 99


def test_the_address_for_replicas():
    """The machine's address, a set one, or loopback where nobody shares the store."""
    alone = autoconfigure(load(None, {}).config, home="/", address=None)

    assert configured().inter_cp.catalog.instance_address == "10.1.2.3"
    assert configured(KUMA_INTER_CP_CATALOG_INSTANCE_ADDRESS="10.9.9.9").inter_cp.catalog.instance_address == "10.9.9.9"
    assert alone.inter_cp.catalog.instance_address == "127.0.0.1"


def test_replicas_without_an_address_do_not_start():
    """Where replicas share a store, one that nobody can reach says so."""
    config = load(None, {"KUMA_STORE_TYPE": "postgres", "KUMA_STORE_ENCRYPTION_KEY": "x"}).config

    with pytest.raises(ConfigInvalid, match="KUMA_INTER_CP_CATALOG_INSTANCE_ADDRESS"):
        autoconfigure(config, home="/", address=None)


def test_general_tls_limits_reach_every_server():
    """One line raises the bar everywhere."""
    config = configured(KUMA_GENERAL_TLS_MIN_VERSION="TLSv1_3", KUMA_GENERAL_TLS_CIPHER_SUITES="TLS_AES_128_GCM_SHA256")

    for server in (
        config.api_server.https,
        config.dp_server,
        config.diagnostics,
        config.monitoring_assignment_server,
        config.inter_cp.server,
        config.multizone.global_.kds,
    ):
        assert server.tls_min_version == "TLSv1_3"
        assert server.tls_cipher_suites == ("TLS_AES_128_GCM_SHA256",)


def test_a_general_default_lowers_nothing():
    """A server set to TLS 1.3 stays there while the general setting is untouched."""
    config = configured(KUMA_DP_SERVER_TLS_MIN_VERSION="TLSv1_3")

    assert config.dp_server.tls_min_version == "TLSv1_3"
    assert config.api_server.https.tls_min_version == "TLSv1_2"


def test_one_certificate_serves_every_server_without_its_own():
    """The general pair is used everywhere but where a server has its own."""
    config = load(None, {"KUMA_DP_SERVER_TLS_CERT_FILE": "/own.crt", "KUMA_DP_SERVER_TLS_KEY_FILE": "/own.key"}).config

    config = with_tls(config, "/auto.crt", "/auto.key")

    assert (config.dp_server.tls_cert_file, config.dp_server.tls_key_file) == ("/own.crt", "/own.key")
    for server in (
        config.general,
        config.api_server.https,
        config.diagnostics,
        config.monitoring_assignment_server,
        config.multizone.global_.kds,
    ):
        assert (server.tls_cert_file, server.tls_key_file) == ("/auto.crt", "/auto.key")


def test_a_given_general_certificate_wins_over_a_generated_one():
    """A pair that a person set is the one that is spread."""
    config = load(None, {"KUMA_GENERAL_TLS_CERT_FILE": "/mine.crt", "KUMA_GENERAL_TLS_KEY_FILE": "/mine.key"}).config

    config = with_tls(config, "/auto.crt", "/auto.key")

    assert config.api_server.https.tls_cert_file == "/mine.crt"
    assert config.api_server.https.tls_key_file == "/mine.key"


def test_filling_twice_changes_nothing():
    """Autoconfiguration is idempotent."""
    once = configured()

    assert autoconfigure(once, home="/elsewhere", address="10.9.9.9") == once

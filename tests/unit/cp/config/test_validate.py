"""Contradictions in the settings stop the start, each with a sentence that says what to change."""

from pathlib import Path

import pytest

from kuma.cp.config import ConfigInvalid, load

POSTGRES = {"KUMA_STORE_TYPE": "postgres"}
CLUSTER = {"KUMA_ENVIRONMENT": "kubernetes", "KUMA_RUNTIME_KUBERNETES_ADMISSION_SERVER_CERT_DIR": "/certs"}


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"KUMA_GENERAL_TLS_CERT_FILE": "/c"}, "General validation failed: TlsKeyFile cannot be empty"),
        ({"KUMA_DP_SERVER_TLS_KEY_FILE": "/k"}, "DpServer validation failed: TlsCertFile cannot be empty"),
        ({"KUMA_GENERAL_TLS_MIN_VERSION": "1.2"}, "TlsMinVersion: unsupported tls version '1.2'"),
        (
            {"KUMA_DP_SERVER_TLS_MIN_VERSION": "TLSv1_3", "KUMA_DP_SERVER_TLS_MAX_VERSION": "TLSv1_2"},
            "TlsMinVersion cannot be higher than TlsMaxVersion",
        ),
        ({"KUMA_API_SERVER_HTTPS_TLS_MAX_VERSION": "TLSv1_1"}, "HTTPS validation failed: TlsMaxVersion TLSv1_1 leaves"),
        ({"KUMA_GENERAL_TLS_CIPHER_SUITES": "TLS_MADE_UP"}, "unsupported cipher suite 'TLS_MADE_UP'"),
        ({"KUMA_DP_SERVER_GRACEFUL_SHUTDOWN_TIMEOUT": "0s"}, "GracefulShutdownTimeout must be greater than 0"),
        ({"KUMA_DP_SERVER_AUTHN_DP_PROXY_TYPE": "x"}, "Authn.DpProxy.Type 'x' is unknown"),
        (
            {"KUMA_DP_SERVER_AUTHN_DP_PROXY_TYPE": "serviceAccountToken"},
            "Authn.DpProxy.Type 'serviceAccountToken' is unknown, should be one of dpToken, none",
        ),
        (
            {"KUMA_DP_SERVER_AUTHN_ZONE_PROXY_TYPE": "serviceAccountToken"},
            "Authn.ZoneProxy.Type 'serviceAccountToken' is unknown, should be one of zoneToken, none",
        ),
        ({"KUMA_API_SERVER_AUTHN_TYPE": "x"}, "ApiServer validation failed: Authn.Type 'x' is unknown"),
        ({"KUMA_API_SERVER_BASE_PATH": "x"}, "BasePath 'x' has to start with /"),
        ({"KUMA_API_SERVER_ROOT_URL": "x"}, "RootUrl is not a valid url"),
        ({"KUMA_API_SERVER_HTTP_INTERFACE": "a b"}, "HTTP validation failed: Interface 'a b'"),
        ({"KUMA_API_SERVER_MAX_BODY_BYTES": "0"}, "KUMA_API_SERVER_MAX_BODY_BYTES must be at least 1"),
        ({"KUMA_ACCESS_TYPE": "rbac"}, "Access validation failed: Type 'rbac' is unknown, should be one of static"),
        ({"KUMA_MULTIZONE_ZONE_NAME": ""}, "Multizone Zone validation failed: Name is mandatory"),
        ({"KUMA_MULTIZONE_ZONE_NAME": "a_b"}, "Wrong zone name 'a_b'"),
        ({"KUMA_MULTIZONE_ZONE_NAME": "a" * 64}, "Wrong zone name"),
        ({"KUMA_MULTIZONE_ZONE_GLOBAL_ADDRESS": "http://x"}, "unsupported scheme in zone GlobalAddress"),
        ({"KUMA_DNS_SERVER_CIDR": "10.0.0.1"}, "Must provide a valid CIDR"),
        ({"KUMA_IPAM_MESH_SERVICE_CIDR": "x"}, "IPAM validation failed: MeshService.CIDR 'x'"),
        ({"KUMA_METRICS_DATAPLANE_SUBSCRIPTION_LIMIT": "-1"}, "SubscriptionLimit should be positive or equal 0"),
        ({"KUMA_METRICS_MESH_MIN_RESYNC_INTERVAL": "30s"}, "FullResyncInterval should be greater than"),
        ({"KUMA_MONITORING_ASSIGNMENT_SERVER_API_VERSIONS": ""}, "ApiVersions must contain at least one"),
        ({"KUMA_MESH_SERVICE_LABEL_PROPAGATION_ALLOWED_LABEL_KEYS": "kuma.io/zone"}, "'kuma.io/zone' is reserved"),
        ({"KUMA_STORE_UPSERT_CONFLICT_RETRY_JITTER_PERCENT": "101"}, "must be at most 100"),
        ({"KUMA_STORE_POSTGRES_READ_REPLICA_RATIO": "101"}, "must be at most 100"),
        (POSTGRES | {"KUMA_STORE_POSTGRES_HOST": ""}, "Postgres validation failed: Host should not be empty"),
        (
            POSTGRES | {"KUMA_STORE_POSTGRES_MIN_OPEN_CONNECTIONS": "51"},
            "MinOpenConnections should not be greater than MaxOpenConnections",
        ),
        (POSTGRES | {"KUMA_STORE_POSTGRES_TLS_MODE": "verifyCa"}, "CAPath cannot be empty when mode is verifyCa"),
        (POSTGRES | {"KUMA_STORE_POSTGRES_TLS_CERT_PATH": "/c"}, "CertPath and KeyPath have to be set together"),
        ({"KUMA_ENVIRONMENT": "kubernetes"}, ".AdmissionServer is not valid: .CertDir should not be empty"),
        (CLUSTER | {"KUMA_INJECTOR_INIT_CONTAINER_IMAGE": ""}, ".InitContainer is not valid: .Image must be non-empty"),
        (
            CLUSTER | {"KUMA_INJECTOR_SIDECAR_CONTAINER_RESOURCES_LIMITS_MEMORY": "much"},
            ".SidecarContainer is not valid: .Resources.Limits.Memory is not valid: 'much'",
        ),
        (CLUSTER | {"KUMA_RUNTIME_KUBERNETES_NODE_TAINT_CONTROLLER_ENABLED": "true"}, ".CniApp has to be set"),
    ],
)
def test_a_contradiction_is_named(environ: dict[str, str], complaint: str):
    """The message starts like Kuma's and names the rule."""
    with pytest.raises(ConfigInvalid) as caught:
        load(None, environ)

    assert str(caught.value).startswith("configuration validation failed: ")
    assert complaint in str(caught.value)


def test_all_contradictions_are_named_at_once():
    """Correcting a configuration takes one try."""
    with pytest.raises(ConfigInvalid) as caught:
        load(None, {"KUMA_MODE": "x", "KUMA_STORE_TYPE": "y", "KUMA_ACCESS_TYPE": "z"})

    assert all(part in str(caught.value) for part in ("Mode valid", "Store valid", "Access valid"))


def test_settings_of_a_store_that_is_not_used_are_not_judged():
    """A wrong Postgres setting does not stop a control plane on SQLite."""
    assert load(None, {"KUMA_STORE_POSTGRES_HOST": ""}).config.store.type == "sqlite"


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("{key: x}", ".KID is required"),
        ("{kid: 1}", "exactly one of .Key and .KeyFile has to be set"),
        ("{kid: 1, key: x, keyFile: y}", "exactly one of .Key and .KeyFile has to be set"),
    ],
)
def test_incomplete_public_keys_are_named(tmp_path: Path, key: str, complaint: str):
    """A key that could never check a token stops the start."""
    path = tmp_path / "kuma-cp.yaml"
    path.write_text(f"dpServer: {{authn: {{dpProxy: {{dpToken: {{validator: {{publicKeys: [{key}]}}}}}}}}}}\n")

    with pytest.raises(ConfigInvalid, match=rf"PublicKeys\[0\]: {complaint}"):
        load(path, {})

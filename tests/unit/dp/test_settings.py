from __future__ import annotations

from datetime import timedelta

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.dp.settings import resolve

NAMED = {"name": "web-1", "mesh": "default"}


def _settings(environment=None, **flags):
    return resolve(NAMED | flags, environment or {})


def test_defaults_are_kumas():
    """Without flags and variables everything is as Kuma documents it."""
    settings = _settings()

    assert str(settings.control_plane) == "https://localhost:5678"
    assert settings.retry_backoff == timedelta(seconds=3)
    assert settings.retry_max_duration == timedelta(minutes=5)
    assert settings.drain_time == timedelta(seconds=30)
    assert (settings.readiness_port, settings.dns_port, settings.concurrency) == (9902, 15054, 0)
    assert (settings.binary_path, settings.proxy_type) == ("envoy", "dataplane")
    assert settings.features == ("feature-strict-inbound-ports", "feature-reuse-port")
    assert settings.idle == ()


def test_the_environment_wins_over_flags():
    """As in Kuma, where the environment is read after the command line."""
    settings = _settings({"KUMA_DATAPLANE_DRAIN_TIME": "5s"}, drain_time="10s")

    assert settings.drain_time == timedelta(seconds=5)


@pytest.mark.parametrize("variant, feature", [("GRPC", "feature-sotw-grpc"), ("DELTA_GRPC", "feature-delta-grpc")])
def test_the_variant_of_xds_becomes_a_feature(variant, feature):
    """The control plane learns which conversation the user asked for."""
    settings = _settings({"KUMA_DATAPLANE_RUNTIME_ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT": variant})

    assert feature in settings.features


def test_only_what_works_is_claimed():
    """A control plane must not rely on parts this release does not have."""
    features = _settings(
        {"KUMA_DATAPLANE_RUNTIME_OTEL_PIPE_ENABLED": "true", "KUMA_DATAPLANE_RUNTIME_SPIRE_SUPPORTED": "true"}
    ).features

    assert "feature-spire" in features
    assert not {"feature-otel-via-kuma-dp", "feature-tcp-accesslog-via-named-pipe", "feature-embedded-dns"} & {
        *features
    }


@pytest.mark.parametrize(
    "flags, environment, culprit",
    [
        ({"transparent_proxy": "true"}, {}, "--transparent-proxy"),
        ({"transparent_proxy_config": ("a.yaml",)}, {}, "--transparent-proxy-config"),
        ({}, {"KUMA_DNS_PROXY_PORT": "15053"}, "KUMA_DNS_PROXY_PORT"),
        ({}, {"KUMA_APPLICATION_PROBE_PROXY_PORT": "9001"}, "KUMA_APPLICATION_PROBE_PROXY_PORT"),
    ],
)
def test_what_is_not_built_yet_is_refused_by_name(flags, environment, culprit):
    """Whoever asks for the transparent proxy must not believe that traffic is redirected."""
    with pytest.raises(ConfigInvalid, match=rf"{culprit}: not available yet"):
        _settings(environment, **flags)


def test_what_is_switched_off_is_not_refused():
    """``--transparent-proxy=false`` asks for nothing."""
    _settings({"KUMA_DNS_PROXY_PORT": "0"}, transparent_proxy="false")


def test_dns_flags_are_accepted_and_named():
    """DNS is on by default and must not stop a start; flags without effect are told, unless DNS is off."""
    assert _settings(dns_enabled="true", dns_coredns_port="53").idle == ("--dns-enabled", "--dns-coredns-port")
    assert _settings(dns_enabled="false", dns_coredns_port="53").idle == ()


@pytest.mark.parametrize(
    "flags, environment, words",
    [
        ({"cp_address": "localhost:5678"}, {}, "--cp-address"),
        ({"cp_address": "ftp://cp"}, {}, "https://"),
        ({"cp_address": "https://cp:99999"}, {}, "port"),
        ({"cp_address": "https://user:pw@cp"}, {}, "form"),
        ({"drain_time": "0s"}, {}, "--drain-time: must be positive"),
        ({"drain_time": "30"}, {}, "missing unit"),
        ({"concurrency": "many"}, {}, "--concurrency"),
        ({"proxy_type": "gateway"}, {}, "dataplane, ingress, egress"),
        ({"envoy_log_level": "loud"}, {}, "--envoy-log-level"),
        ({"variables": ("a",)}, {}, "key=value"),
        ({"work_dir": "a\0b"}, {}, "--work-dir"),
        ({}, {"KUMA_DATAPLANE_RUNTIME_IPV6_ENABLED": ""}, "IPV6_ENABLED"),
        ({}, {"KUMA_READINESS_PORT": "0"}, "KUMA_READINESS_PORT"),
        ({}, {"KUMA_DATAPLANE_RUNTIME_ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT": "REST"}, "VARIANT"),
        ({"name": "", "mesh": ""}, {}, r"\.Name must be non-empty.*\.Mesh must be non-empty"),
        ({"name": "$(POD_NAME)"}, {}, r"\.Name"),
        ({"resource": "type: Dataplane"}, {}, "--name and --mesh cannot be specified"),
    ],
)
def test_wrong_settings_are_named(flags, environment, words):
    """The start stops with the flag or variable that is wrong."""
    with pytest.raises(ConfigInvalid, match=words):
        _settings(environment, **flags)


def test_all_faults_are_told_at_once():
    """Nobody should have to fix one setting per start."""
    with pytest.raises(ConfigInvalid) as refused:
        _settings(drain_time="x", concurrency="y")

    assert "--drain-time" in str(refused.value)
    assert "--concurrency" in str(refused.value)


def test_on_kubernetes_the_name_comes_from_the_pod():
    """A name that nobody filled in is made of pod and namespace."""
    pod = {"POD_NAME": "web-1", "POD_NAMESPACE": "shop"}

    assert _settings(pod, name="$(POD_NAME).$(POD_NAMESPACE)").name == "web-1.shop"


def test_zone_proxies_need_no_mesh():
    """They belong to none."""
    assert resolve({"name": "egress-1", "proxy_type": "egress"}, {}).mesh == ""


def test_variables_are_read_as_kuma_reads_them():
    """One pair may contain commas; several pairs are separated by them."""
    settings = resolve({"resource": "x", "variables": ("a=1,2", "b=3,c.d=4")}, {})

    assert settings.variables == {"a": "1,2", "b": "3", "c.d": "4"}


@pytest.mark.parametrize(
    "url, expected",
    [
        ("https://localhost:5678/", "https://localhost:5678"),
        ("https://cp.example/mesh/", "https://cp.example:443/mesh"),
        ("https://[::1]:5678", "https://[::1]:5678"),
        ("http://cp", "http://cp:80"),
    ],
)
def test_control_plane_addresses(url, expected):
    """A path is kept, for a control plane behind a proxy; a slash at the end means nothing."""
    assert str(_settings(cp_address=url).control_plane) == expected

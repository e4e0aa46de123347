from __future__ import annotations

from kuma.dp.options import OPTIONS

# spec of the interface: every flag and variable of Kuma 2.14's kuma-dp that means something here
FLAGS = {
    "-d",
    "--dns-enabled",
    "--dns-coredns-config-template-path",
    "--transparent-proxy",
    "--dataplane-token-file",
    "--config-dir",
    "--cp-address",
    "--binary-path",
    "--envoy-component-log-level",
    "--dns-coredns-path",
    "--dataplane-token",
    "--skip-verify",
    "--dataplane",
    "--mesh",
    "--metrics-cert-path",
    "--dns-coredns-port",
    "--dns-prometheus-port",
    "-v",
    "--dataplane-file",
    "--envoy-log-level",
    "--proxy-type",
    "--metrics-key-path",
    "--name",
    "--dns-enable-logging",
    "--drain-time",
    "--ca-cert-file",
    "--work-dir",
    "--dataplane-var",
    "--concurrency",
    "--bind-outbounds",
    "--dns-server-config-dir",
    "--dns-envoy-port",
    "--transparent-proxy-config",
}


def test_every_flag_of_kuma_is_accepted():
    """A start script written for Kuma works unchanged."""
    assert {flag for option in OPTIONS for flag in option.flags} == FLAGS


def test_names_are_unique():
    """One variable, one setting."""
    names = [option.name for option in OPTIONS]
    variables = [option.env for option in OPTIONS if option.env]

    assert len(set(names)) == len(names)
    assert len(set(variables)) == len(variables)


def test_every_flag_explains_itself():
    """``--help`` has a line for each."""
    assert all(option.help for option in OPTIONS if option.flags)

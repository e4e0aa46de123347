import pytest

from kuma.core.resources.prometheus import MetricsBackend, complete_backend, validate_backend


def backend(**conf):
    """A Prometheus backend with this conf."""
    return MetricsBackend.model_validate({"name": "p", "type": "prometheus", "conf": conf})


def reasons(one):
    """What is wrong with a backend."""
    return [(violation.field, violation.reason) for violation in validate_backend(one, "metrics.backends[0]")]


def test_every_default_is_written_out():
    """Who reads a stored mesh sees the port, path, tags and protection that hold."""
    assert complete_backend(backend()).to_json()["conf"] == {
        "port": 5670,
        "path": "/metrics",
        "tags": {"kuma.io/service": "dataplane-metrics"},
        "tls": {"mode": "activeMTLSBackend"},
    }


@pytest.mark.parametrize(
    "written, stored",
    [
        ({"skipMTLS": True}, {"skipMTLS": True, "tls": {"mode": "disabled"}}),
        ({"skipMTLS": False}, {"skipMTLS": False, "tls": {"mode": "activeMTLSBackend"}}),
        ({"skipMTLS": False, "tls": {"mode": "providedTLS"}}, {"tls": {"mode": "providedTLS"}}),
        ({"tls": {"mode": "disabled"}}, {"tls": {"mode": "disabled"}}),
    ],
)
def test_both_spellings_of_protection_agree_when_stored(written, stored):
    """The old flag and the new section never contradict each other in a stored mesh."""
    done = complete_backend(backend(**written))

    conf = done.to_json()["conf"]
    assert {name: conf[name] for name in ("skipMTLS", "tls") if name in conf} == stored
    assert reasons(done) == []
    assert complete_backend(done) == done


def test_what_the_user_wrote_is_kept():
    """Defaults fill gaps only."""
    conf = {"port": 1234, "path": "/m", "tags": {"kuma.io/service": "x"}, "aggregate": [{"name": "app", "port": 80}]}
    assert complete_backend(backend(**conf)).to_json()["conf"].items() >= conf.items()


def test_a_backend_of_another_type_is_left_alone():
    """Defaults of Prometheus do not reach what is not Prometheus."""
    other = MetricsBackend(name="x", type="other")
    assert complete_backend(other) is other


@pytest.mark.parametrize(
    "conf, expected",
    [
        ({"skipMTLS": True, "tls": {}}, [("", "skipMTLS and tls configuration cannot be defined together")]),
        (
            {"skipMTLS": False, "tls": {"mode": "disabled"}},
            [("", "skipMTLS and tls configuration cannot be defined together")],
        ),
        ({"envoy": {"filterRegex": "("}}, [(".envoy.filterRegex", "provided regexp isn't correct: missing ): (")]),
        ({"envoy": {"filterRegex": "http2_.*"}}, []),
        (
            {"aggregate": [{"name": "a"}, {"name": "a"}]},
            [(".aggregate[1].name", "duplicate entry: a, values have to be unique")],
        ),
        ({"port": "x"}, [(".port", "in body must be of type integer")]),
    ],
)
def test_broken_settings_are_named(conf, expected):
    """Each rule of a Prometheus backend is reported where the user wrote the value."""
    assert reasons(backend(**conf)) == [(f"metrics.backends[0].conf{field}", reason) for field, reason in expected]

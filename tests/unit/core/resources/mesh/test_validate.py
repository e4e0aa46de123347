import pytest

from kuma.core.model.kinds import BY_NAME
from kuma.core.resources.mesh import DEFINITION
from tests.unit.core.resources.documents import broken_rules, resource


def rules(spec, **meta):
    """What is wrong with a Mesh."""
    return broken_rules(DEFINITION, "Mesh", spec, **meta)


def ca(**fields):
    """A mesh with one authority."""
    return {"mtls": {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin", **fields}]}}


def one(section, **backend):
    """A mesh with one backend in a section."""
    return {section: {"backends": [{"name": "b", **backend}]}}


FULL = {
    "mtls": {
        "enabledBackend": "ca-1",
        "backends": [
            {
                "name": "ca-1",
                "type": "builtin",
                "dpCert": {"rotation": {"expiration": "1d"}, "requestTimeout": "5s"},
                "rootChain": {"requestTimeout": "5s"},
                "conf": {"caCert": {"RSAbits": 2048, "expiration": "10y"}},
            },
            {"name": "ca-2", "type": "provided", "conf": {"cert": {"secret": "c"}, "key": {"file": "/k"}}},
        ],
    },
    "logging": {"defaultBackend": "f", "backends": [{"name": "f", "type": "file", "conf": {"path": "/var/log/a.log"}}]},
    "tracing": {
        "defaultBackend": "z",
        "backends": [
            {"name": "z", "sampling": 100, "type": "zipkin", "conf": {"url": "http://j:9411/api/v2/spans"}},
            {"name": "d", "type": "datadog", "conf": {"address": "agent", "port": 8126}},
        ],
    },
    "metrics": {"enabledBackend": "p", "backends": [{"name": "p", "type": "prometheus", "conf": {"port": 5670}}]},
    "networking": {"outbound": {"passthrough": False}},
    "routing": {"zoneEgress": True},
    "constraints": {"dataplaneProxy": {"requirements": [{"tags": {"kuma.io/zone": "*"}}]}},
    "meshServices": {"mode": "Exclusive"},
    "skipCreatingInitialPolicies": ["*"],
}


def test_a_mesh_with_everything_is_accepted_and_printed_as_written():
    """The full example of the guides is valid, several authorities included, and comes back as it was."""
    assert rules(FULL) == []
    assert resource(DEFINITION, "Mesh", FULL).spec.to_json() == FULL


def test_the_registry_finds_this_definition():
    """The kind's home is this folder."""
    assert BY_NAME["Mesh"].home == "kuma.core.resources.mesh"


@pytest.mark.parametrize(
    "spec, expected",
    [
        (
            {"mtls": {"backends": [{"name": "a", "type": "builtin"}, {"name": "a", "type": "builtin"}]}},
            [("mtls.backends[1].name", '"a" name is already used for another backend')],
        ),
        (
            {"mtls": {"backends": [{"name": f"ca-{number}", "type": "builtin"} for number in range(17)]}},
            [("mtls.backends", "cannot have more than 16 backends")],
        ),
        (
            {"mtls": {"enabledBackend": "x"}},
            [("mtls.enabledBackend", "has to be set to one of the backends in the mesh")],
        ),
        (ca(type="vault"), [("mtls.backends[0].type", "could not find installed plugin for this type")]),
        (
            ca(dpCert={"rotation": {"expiration": "1d12h"}}),
            [("mtls.dpcert.rotation.expiration", "has to be a valid format")],
        ),
        (
            ca(conf={"caCert": {"expiration": "soon"}}),
            [("mtls.backends[0].conf.caCert.expiration", "has to be a valid format")],
        ),
        (
            ca(conf={"caCert": {"rsaBits": 512}}),
            [("mtls.backends[0].conf.caCert.rsaBits", "must be in inclusive range [2048, 4096]")],
        ),
        (
            ca(conf={"caCert": {"rsaBits": 8192}}),
            [("mtls.backends[0].conf.caCert.rsaBits", "must be in inclusive range [2048, 4096]")],
        ),
        (
            ca(conf={"caCert": {"rsaBits": "many"}}),
            [("mtls.backends[0].conf.caCert.rsaBits", "in body must be of type integer")],
        ),
        (
            ca(type="provided"),
            [
                ("mtls.backends[0].conf.cert", "has to be defined"),
                ("mtls.backends[0].conf.key", "has to be defined"),
            ],
        ),
        (
            ca(type="provided", conf={"cert": {}, "key": {"secret": "a", "file": "b"}}),
            [
                (
                    "mtls.backends[0].conf.cert",
                    "data source has to be chosen. Available sources: secret, file, inline, inlineString",
                ),
                ("mtls.backends[0].conf.key", "data source must have only one type defined: secret, file"),
            ],
        ),
        (
            ca(type="provided", conf={"cert": {"inline": ""}, "key": {"inlineString": "pem"}}),
            [("mtls.backends[0].conf.cert", "data source cannot be empty")],
        ),
        (
            {"logging": {"defaultBackend": "x"}},
            [("logging.defaultBackend", "has to be set to one of the logging backend in mesh")],
        ),
        (
            one("logging", type="x"),
            [("logging.backends[0].type", 'unknown backend type. Available backends: "tcp", "file"')],
        ),
        (one("logging", type="file"), [("logging.backends[0].config.path", "cannot be empty")]),
        (one("logging", type="tcp"), [("logging.backends[0].config.address", "cannot be empty")]),
        (
            one("logging", type="tcp", conf={"address": "host"}),
            [("logging.backends[0].config.address", "has to be in format of HOST:PORT")],
        ),
        (
            {"tracing": {"defaultBackend": "x"}},
            [("tracing.defaultBackend", "has to be set to one of the tracing backend in mesh")],
        ),
        (
            one("tracing", type="x", sampling=101),
            [
                ("tracing.backends[0].sampling", "has to be in [0.0 - 100.0] range"),
                ("tracing.backends[0].type", 'unknown backend type. Available backends: "zipkin", "datadog"'),
            ],
        ),
        (one("tracing", type="zipkin"), [("tracing.backends[0].config.url", "cannot be empty")]),
        (
            one("tracing", type="zipkin", conf={"url": "nowhere"}),
            [("tracing.backends[0].config.url", "invalid URL")],
        ),
        (
            one("tracing", type="zipkin", conf={"url": "http://host/x", "apiVersion": "v9"}),
            [
                ("tracing.backends[0].config.url", "port has to be explicitly specified"),
                (
                    "tracing.backends[0].config.apiVersion",
                    "has invalid value. Allowed values: httpJsonV1, httpJson, httpProto",
                ),
            ],
        ),
        (
            one("tracing", type="datadog", conf={"port": 1}),
            [("tracing.backends[0].config.address", "cannot be empty")],
        ),
        (
            one("metrics", type="x"),
            [("metrics.backends[0].type", 'unknown backend type. Available backends: "prometheus"')],
        ),
        (
            {"metrics": {"enabledBackend": "x"}},
            [("metrics.enabledBackend", "has to be set to one of the backends in the mesh")],
        ),
        ({"routing": {"zoneEgress": True}}, [("mtls", "has to be set when zoneEgress enabled")]),
        (
            {"constraints": {"dataplaneProxy": {"requirements": [{"tags": {}}], "restrictions": [{}]}}},
            [
                ("constraints.dataplaneProxy.requirements[0].tags", "must have at least one tag"),
                ("constraints.dataplaneProxy.restrictions[0].tags", "must have at least one tag"),
            ],
        ),
    ],
)
def test_each_rule_is_reported_in_the_words_of_kuma(spec, expected):
    """A broken rule names the field and the reason that scripts and people know."""
    assert rules(spec) == expected


def test_all_violations_come_at_once():
    """A user mends a mesh in one go, not one error at a time."""
    found = rules({**ca(type="x"), **one("logging", type="x"), **one("tracing", type="x"), **one("metrics", type="x")})
    assert [field.split(".")[0] for field, _ in found] == ["mtls", "logging", "tracing", "metrics"]


def test_skip_validation_skips_the_authority_but_not_its_shape():
    """An export that is restored before its secrets are there must go through."""
    skipping = ca(type="provided")
    skipping["mtls"]["skipValidation"] = True
    assert rules(skipping) == []

    skipping["mtls"]["backends"][0]["conf"] = {"cert": "text"}
    assert rules(skipping) == [("mtls.backends[0].conf.cert", "in body must be of type object")]


def test_a_name_longer_than_a_dns_label_is_refused():
    """A mesh name becomes part of host names and certificates."""
    assert rules({}, name="m" * 64) == [("name", "cannot be longer than 63 characters")]
    assert rules({}, name="m" * 63) == []


def test_a_name_that_is_no_dns_label_is_accepted_with_a_warning():
    """Old names go on working, and their owner learns that they should not be used any more."""
    assert list(DEFINITION.warnings(resource(DEFINITION, "Mesh", {}, name="my-mesh"))) == []
    (warning,) = DEFINITION.warnings(resource(DEFINITION, "Mesh", {}, name="1.mesh"))
    assert warning.startswith(
        "Invalid Mesh resource name: '1.mesh'. It does not conform to the DNS format (RFC 1035). "
        "This is deprecated. Errors: a DNS-1035 label must consist of"
    )


@pytest.mark.parametrize("written", [{"inlineString": "key"}, {"inline": "a2V5"}])
def test_a_key_that_is_written_in_a_mesh_is_accepted_with_a_warning(written):
    """Everybody reads meshes; in a Secret only administrators would read it."""

    def warned(key):
        backends = [{"name": "one", "type": "builtin"}, {"name": "two", "type": "provided", "conf": {"key": key}}]
        return list(DEFINITION.warnings(resource(DEFINITION, "Mesh", {"mtls": {"backends": backends}})))

    [warning] = warned(written)
    assert warning.startswith("mtls.backends[1].conf.key is written in the Mesh: whoever may read meshes can read it")
    assert warned({"secret": "my-key"}) == []

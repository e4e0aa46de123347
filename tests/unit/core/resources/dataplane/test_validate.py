import pytest

from kuma.core.resources.dataplane import DEFINITION
from tests.unit.core.resources.documents import broken_rules, resource

INBOUND = {"port": 80, "tags": {"kuma.io/service": "web"}}
FULL = {
    "networking": {
        "address": "10.0.0.1",
        "advertisedAddress": "1.2.3.4",
        "inbound": [
            {
                "port": 80,
                "servicePort": 8080,
                "address": "10.0.0.2",
                "serviceAddress": "127.0.0.1",
                "name": "http",
                "protocol": "http",
                "tags": {"kuma.io/service": "web", "kuma.io/protocol": "http"},
                "serviceProbe": {
                    "interval": "5s",
                    "timeout": "2s",
                    "unhealthyThreshold": 3,
                    "healthyThreshold": 1,
                    "tcp": {},
                },
            }
        ],
        "outbound": [
            {"port": 3306, "address": "127.0.0.1", "tags": {"kuma.io/service": "db"}},
            {"port": 9000, "backendRef": {"kind": "MeshService", "name": "db", "port": 3306}},
            {"port": 9001, "service": "old"},
        ],
        "transparentProxying": {
            "redirectPortInbound": 15006,
            "redirectPortOutbound": 15001,
            "ipFamilyMode": "DualStack",
            "reachableBackends": {"refs": [{"kind": "MeshService", "name": "db", "namespace": "n", "port": 80}]},
        },
        "listeners": [{"type": "ZoneEgress", "address": "10.0.0.1", "port": 10002, "name": "ze"}],
        "admin": {"port": 9901},
    },
    "metrics": {"type": "prometheus", "name": "p", "conf": {}},
    "probes": {"port": 9000, "endpoints": [{"inboundPort": 80, "inboundPath": "/h", "path": "/80/h"}]},
}


def rules(spec, **meta):
    """What is wrong with a Dataplane."""
    return broken_rules(DEFINITION, "Dataplane", spec, **meta)


def net(**fields):
    """A proxy with this networking section."""
    return {"networking": {"address": "10.0.0.1", **fields}}


def inbound(**fields):
    """A proxy with one inbound."""
    return net(inbound=[{**INBOUND, **fields}])


def outbound(**fields):
    """A proxy with one outbound."""
    return net(outbound=[{"port": 9000, **fields}])


def test_a_dataplane_with_everything_is_accepted_and_printed_as_written():
    """The full example of the guides is valid and comes back as it was."""
    assert rules(FULL) == []
    assert resource(DEFINITION, "Dataplane", FULL).spec.to_json() == FULL


def test_defaults_are_left_out_when_printed():
    """What a user did not need to write is not shown: state Ready, type DELEGATED, numbers that are 0."""
    spec = net(
        inbound=[{**INBOUND, "state": "Ready", "servicePort": 0, "health": {"ready": False}}],
        gateway={"type": "DELEGATED", "tags": {}},
    )
    assert resource(DEFINITION, "Dataplane", spec).spec.to_json() == net(
        inbound=[{**INBOUND, "health": {}}], gateway={}
    )


GOOD = [
    net(),
    net(address="host_1.internal"),
    net(inbound=[{"port": 80}]),
    net(gateway={"tags": {"kuma.io/service": "edge"}}, outbound=[{"port": 1, "tags": {"kuma.io/service": "db"}}]),
    net(gateway={"type": "BUILTIN", "tags": {"kuma.io/service": "edge"}}),
    inbound(protocol="GRPC"),
    inbound(tags={"kuma.io/service": "db", "kuma.io/protocol": "mysql"}),
    inbound(serviceAddress="10.0.0.1", address="10.0.0.1", servicePort=8080),
    outbound(backendRef={"kind": "MeshExternalService", "labels": {"a": "b"}}),
    outbound(service="ads"),
]


@pytest.mark.parametrize("spec", GOOD)
def test_what_kuma_accepts_is_accepted(spec):
    """Nobody has to change a file."""
    assert rules(spec) == []


PORT = "port must be in the range [1, 65535]"
HINT = "Allowed values: grpc, http, http2, kafka, tcp"
KINDS = "invalid value. Available values are: MeshExternalService,MeshMultiZoneService,MeshService"
REFS = "networking.transparentProxing.reachableBackends.refs[0]"


def refs(**ref):
    """A proxy that may reach one backend."""
    return net(transparentProxying={"reachableBackends": {"refs": [ref]}})


@pytest.mark.parametrize(
    "spec, expected",
    [
        ({}, [("networking", "must be defined")]),
        ({"networking": {}}, [("networking.address", "address can't be empty")]),
        (net(address="0.0.0.0"), [("networking.address", "must not be 0.0.0.0 or ::")]),
        (net(address="::"), [("networking.address", "must not be 0.0.0.0 or ::")]),
        (net(address="a b"), [("networking.address", "address has to be valid IP address or domain name")]),
        (
            net(advertisedAddress="a/b"),
            [("networking.advertisedAddress", "address has to be valid IP address or domain name")],
        ),
        (
            net(
                inbound=[INBOUND],
                outbound=[{"port": 81, "tags": {"kuma.io/service": "x"}}],
                admin={"port": 80},
            ),
            [("networking.admin.port", "must differ from inbound")],
        ),
        (
            net(outbound=[{"port": 81, "tags": {"kuma.io/service": "x"}}], admin={"port": 81}),
            [("networking.admin.port", "must differ from outbound")],
        ),
        (
            net(gateway={}, inbound=[INBOUND], listeners=[{"type": "ZoneEgress", "port": 1}]),
            [
                ("networking.inbound", "inbound cannot be defined for delegated gateways"),
                ("networking.listeners", "listeners cannot be defined for delegated gateways"),
            ],
        ),
        (
            {
                **net(
                    gateway={"type": "BUILTIN"},
                    inbound=[INBOUND],
                    outbound=[{"port": 1, "tags": {"kuma.io/service": "x"}}],
                    listeners=[{"type": "ZoneEgress", "port": 1}],
                ),
                "probes": {"port": 1},
            },
            [
                ("networking.inbound", "inbound cannot be defined for builtin gateways"),
                ("networking.outbound", "outbound cannot be defined for builtin gateways"),
                ("networking.listeners", "listeners cannot be defined for builtin gateways"),
                ("networking.probes", "probes cannot be defined for builtin gateways"),
            ],
        ),
        (
            net(gateway={"tags": {"kuma.io/protocol": "http"}}),
            [
                (
                    'networking.gateway.tags["kuma.io/protocol"]',
                    'other values than tcp are not allowed, provided value "http"',
                ),
                ('networking.gateway.tags["kuma.io/service"]', "tag has to exist"),
            ],
        ),
        (
            inbound(port=0, servicePort=65536),
            [("networking.inbound[0].port", PORT), ("networking.inbound[0].servicePort", PORT)],
        ),
        (
            inbound(tags={"version": "1"}),
            [('networking.inbound[0].tags["kuma.io/service"]', "tag has to exist")],
        ),
        (
            inbound(tags={"kuma.io/service": "web", "kuma.io/protocol": "ftp"}),
            [
                (
                    'networking.inbound[0].tags["kuma.io/protocol"]',
                    f'tag "kuma.io/protocol" has an invalid value "ftp". {HINT}',
                )
            ],
        ),
        (
            inbound(tags={"kuma.io/service": ""}),
            [('networking.inbound[0].tags["kuma.io/service"]', "tag value must be non-empty")],
        ),
        (inbound(protocol="ftp"), [("networking.inbound[0].protocol", f'has an invalid value "ftp". {HINT}')]),
        (
            inbound(serviceAddress="host", address="host2"),
            [
                ("networking.inbound[0].serviceAddress", "serviceAddress has to be valid IP address"),
                ("networking.inbound[0].address", "address has to be valid IP address"),
            ],
        ),
        (
            inbound(serviceAddress="10.0.0.1", address="10.0.0.1"),
            [
                (
                    "networking.inbound[0].serviceAddress",
                    "serviceAddress and servicePort has to differ from address and port",
                )
            ],
        ),
        (
            inbound(serviceProbe={"interval": "0s", "timeout": "-1s", "unhealthyThreshold": 0, "healthyThreshold": 0}),
            [
                (f"networking.inbound[0].serviceProbe.{name}", "must have a positive value")
                for name in ("interval", "timeout", "unhealthyThreshold", "healthyThreshold")
            ],
        ),
        (
            outbound(),
            [("networking.outbound[0].tags", 'mandatory tag "kuma.io/service" is missing')],
        ),
        (
            outbound(service="a b"),
            [
                (
                    "networking.outbound[0].service",
                    "tag value must consist of alphanumeric characters, dots, dashes and underscores",
                )
            ],
        ),
        *(
            (
                outbound(**named),
                [
                    (
                        "networking.outbound[0]",
                        f'"{name}" is a name in the proxy\'s own configuration, a service cannot have it',
                    )
                ],
            )
            for name in ("localhost:80", "kuma:envoy:admin", "ads_cluster", "access_log_sink", "system_ads")
            for named in ({"service": name}, {"tags": {"kuma.io/service": name}})
        ),
        (
            outbound(tags={"kuma.io/service": "x"}, backendRef={"kind": "MeshService", "name": "x", "port": 1}),
            [("networking.outbound[0].backendRef", "both backendRef and tags/service cannot be defined")],
        ),
        (
            outbound(backendRef={"kind": "Mesh"}),
            [
                ("networking.outbound[0].backendRef.kind", KINDS),
                ("networking.outbound[0].backendRef", "either 'name' or 'labels' should be specified"),
                ("networking.outbound[0].backendRef.port", PORT),
            ],
        ),
        (
            refs(kind="x", namespace="n"),
            [
                (f"{REFS}.kind", KINDS),
                (f"{REFS}.name", "name or labels are required"),
                (f"{REFS}.name", "name is required, when namespace is defined"),
            ],
        ),
        (
            refs(kind="MeshService", name="x", labels={"a": "b"}),
            [(f"{REFS}.labels", "labels cannot be defined when name is specified")],
        ),
        (
            net(listeners=[{"port": 1}, {"type": "ZoneEgress", "port": 0}]),
            [
                ("networking.listeners[0].type", "type must be ZoneIngress or ZoneEgress"),
                ("networking.listeners[1].port", PORT),
            ],
        ),
        (
            net(
                inbound=[{**INBOUND, "name": "a"}],
                listeners=[
                    {"type": "ZoneEgress", "port": 1, "name": "a"},
                    {"type": "ZoneEgress", "port": 1, "address": "10.0.0.1"},
                    {"type": "ZoneIngress", "port": 1},
                    {"type": "ZoneIngress", "port": 80},
                ],
            ),
            [
                ("networking.listeners[0].name", 'name "a" must be unique across inbounds and listeners'),
                ("networking.listeners[1]", "address:port 10.0.0.1:1 is already used by another listener"),
                ("networking.listeners[2]", "address:port 10.0.0.1:1 is used by listeners of different types"),
                ("networking.listeners[3]", "address:port 10.0.0.1:80 collides with an inbound listener"),
            ],
        ),
        (
            {**net(), "probes": {"endpoints": [{"inboundPath": "h"}]}},
            [
                ("probes.port", PORT),
                ("probes.endpoints[0].inboundPort", PORT),
                ("probes.endpoints[0].inboundPath", "should be a valid URL Path"),
                ("probes.endpoints[0].path", "should be a valid URL Path"),
            ],
        ),
        (
            {**net(), "metrics": {"type": "x"}},
            [("metrics.type", 'unknown backend type. Available backends: "prometheus"')],
        ),
    ],
)
def test_each_rule_is_reported_in_the_words_of_kuma(spec, expected):
    """A broken rule names the field and the reason that scripts and people know."""
    assert rules(spec) == expected


def test_the_workload_label_is_a_dns_label():
    """A workload becomes part of an identity, so its name must be one that DNS can carry."""
    assert rules(net(), labels={"kuma.io/workload": "web-1"}) == []
    ((field, reason),) = rules(net(), labels={"kuma.io/workload": "Web.1"})
    assert field == 'labels["kuma.io/workload"]'
    assert reason.startswith("a DNS-1035 label must consist of")

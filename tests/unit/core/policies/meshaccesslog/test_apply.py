import json
from dataclasses import replace
from time import monotonic, sleep

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.model.resource import Key
from kuma.core.policies._kit.merge import conf_text
from kuma.core.policies._kit.rules import InboundRule, InboundRules, Merged, Towards
from kuma.core.policies._kit.spec import Match
from kuma.core.policies.meshaccesslog.apply import FILE_LOGGER, OTEL_LOGGER, inbound, outbound
from kuma.core.policies.meshaccesslog.spec import Conf
from kuma.core.xds.log_facts import LogFacts
from kuma.core.xds.pack import packed_inbound, packed_outbound
from kuma.core.xds.view import TlsMode
from kuma.envoy_api.envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from kuma.envoy_api.envoy.extensions.access_loggers.open_telemetry.v3.logs_service_pb2 import (
    OpenTelemetryAccessLogConfig,
)
from tests.unit.core.policies.traffic import application, get

KEY = Key("MeshAccessLog", "default", "mine")
WEB = ("spiffe://default/web", "kuma://kuma.io/service/web")
WORKLOAD = "kri_wl_default_zone-1__web_"
FACTS = LogFacts("web-1", "default", "10.0.0.7", "web", "zone-1", WORKLOAD, "/run/kuma")
PLACEHOLDERS = (
    "%KUMA_SOURCE_ADDRESS% %KUMA_SOURCE_ADDRESS_WITHOUT_PORT% %KUMA_SOURCE_SERVICE% %KUMA_DESTINATION_SERVICE% "
    "%KUMA_MESH% %KUMA_TRAFFIC_DIRECTION% %KUMA_ZONE% %KUMA_WORKLOAD%"
)


def _conf(*backends):
    return Conf.model_validate_json(json.dumps({"backends": list(backends)}))


def _file(path="/logs/access", **format):
    return {"type": "File", "file": {"path": str(path), **({"format": format} if format else {})}}


def _plain(path, text):
    return _file(path, type="Plain", plain=text)


def _tcp(**format):
    return {"type": "Tcp", "tcp": {"address": "127.0.0.1:5000", **({"format": format} if format else {})}}


def _otel(endpoint="collector:4317", **more):
    return {"type": "OpenTelemetry", "openTelemetry": {"endpoint": endpoint, **more}}


def _towards(*backends, routes=None):
    routed = {name: Merged(_conf(*of_route), (KEY,)) for name, of_route in (routes or {}).items()}
    return Towards({"backend": Merged(_conf(*backends), (KEY,))}, spoken=True, routes=routed)


def _rule(*backends, match=None):
    parsed = None if match is None else Match.model_validate(match)
    conf = _conf(*backends)
    return InboundRule(parsed, conf, KEY, "kri_mal_default___mine_", conf_text(conf))


def _spiffe(value, kind="Exact"):
    return {"spiffeID": {"type": kind, "value": value}}


def _outbound(drafts, *backends, protocol="http", **more):
    draft = drafts.outbound(protocol)
    draft.view = replace(draft.view, logs=FACTS)
    outbound(draft, _towards(*backends, **more))
    return draft


def _logs(chain):
    return list((chain.http or chain.tcp).access_log)


def _unpacked(logger, kind=FileAccessLog):
    config = kind()
    assert logger.typed_config.Unpack(config)
    return config


def _text(logger):
    return _unpacked(logger).log_format.text_format_source.inline_string


def _awaited(path, lines):
    deadline = monotonic() + 30
    while monotonic() < deadline:
        found = path.read_text().splitlines() if path.exists() else []
        if len(found) >= lines:
            return found
        sleep(0.05)
    raise AssertionError(f"{path.name} has no {lines} lines")


def test_placeholders_of_outbound_traffic_are_filled_in(drafts):
    """What only the control plane knows stands in the line when Envoy sees it."""
    draft = _outbound(drafts, _plain("/logs/a", PLACEHOLDERS))

    [logger] = _logs(draft.chain)
    assert (logger.name, _unpacked(logger).path) == (FILE_LOGGER, "/logs/a")
    assert _text(logger) == "10.0.0.7:0 10.0.0.7 web backend default OUTBOUND zone-1 kri_wl_default_zone-1__web_\n"


def test_placeholders_of_inbound_traffic_are_filled_in(drafts):
    """Who calls is not known; the address is the proxy's own, as in Kuma."""
    draft = drafts.inbound("http")
    draft.view = replace(draft.view, logs=FACTS)
    inbound(draft, InboundRules((_rule(_plain("/logs/a", PLACEHOLDERS)),)))

    [logger] = _logs(draft.chains[0])
    assert _text(logger) == "10.0.0.7:0 10.0.0.7 unknown backend default INBOUND zone-1 kri_wl_default_zone-1__web_\n"


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (
            "http",
            (
                '[%START_TIME%] default "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
                "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
                '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-B3-TRACEID?X-DATADOG-TRACEID)%" '
                '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "web" "backend" "10.0.0.7" "%UPSTREAM_HOST%"\n'
            ),
        ),
        (
            "tcp",
            (
                "[%START_TIME%] %RESPONSE_FLAGS% default 10.0.0.7(web)->%UPSTREAM_HOST%(backend) took %DURATION%ms, "
                "sent %BYTES_SENT% bytes, received: %BYTES_RECEIVED% bytes\n"
            ),
        ),
    ],
)
def test_without_a_format_lines_are_those_kuma_writes(drafts, protocol, expected):
    """Dashboards and parsers made for Kuma go on working."""
    [logger] = _logs(_outbound(drafts, _file(), protocol=protocol).chain)

    assert _text(logger) == expected


def test_a_line_may_be_json(drafts):
    """Keys as written, values with placeholders filled in; empty values can be left out."""
    fields = [{"key": "who", "value": "%KUMA_SOURCE_SERVICE%"}, {"key": "when", "value": "%START_TIME%"}]
    draft = _outbound(drafts, _file(type="Json", json=fields, omitEmptyValues=True))

    made = _unpacked(_logs(draft.chain)[0]).log_format
    assert MessageToDict(made.json_format) == {"who": "web", "when": "%START_TIME%"}
    assert made.omit_empty_values


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ({"type": "Plain", "plain": "%KUMA_ZONE%"}, "zone-1\n"),
        ({"type": "Json", "json": [{"key": "zone", "value": "%KUMA_ZONE%"}]}, {"zone": "zone-1"}),
    ],
)
def test_lines_for_a_server_go_to_the_stream_of_kuma_dp(drafts, format, message):
    """Each line carries the address it is for."""
    config = _unpacked(_logs(_outbound(drafts, _tcp(**format)).chain)[0])

    assert config.path == "/run/kuma/kuma-al-web-1-default.sock"
    assert MessageToDict(config.log_format.json_format) == {"address": "127.0.0.1:5000", "message": message}


def test_long_names_of_streams_are_cut_as_kuma_dp_cuts_them():
    """A path of a socket has a limit."""
    path = LogFacts(name="n" * 200, workdir="/w").stream_path

    assert path == f"/w/kuma-al-{'n' * 87}.sock"


def test_records_for_a_collector_carry_body_and_attributes(drafts):
    """The default body is the default line; placeholders are filled in everywhere."""
    attributes = [{"key": "mesh", "value": "%KUMA_MESH%"}]
    pair = {"key": "to-%KUMA_ZONE%", "value": {"stringValue": "%KUMA_DESTINATION_SERVICE%"}}
    body = {"arrayValue": {"values": [{"kvlistValue": {"values": [pair]}}, {"stringValue": "%KUMA_MESH%"}]}}
    draft = _outbound(drafts, _otel(attributes=attributes, body=body), _otel("10.0.0.9"), _otel(body="%KUMA_ZONE%"))

    loggers = _logs(draft.chain)
    first, second, third = (_unpacked(logger, OpenTelemetryAccessLogConfig) for logger in loggers)
    assert {logger.name for logger in loggers} == {OTEL_LOGGER}
    assert first.log_name == "MeshAccessLog"
    filled = {"key": "to-zone-1", "value": {"stringValue": "backend"}}
    assert MessageToDict(first.body) == {
        "arrayValue": {"values": [{"kvlistValue": {"values": [filled]}}, {"stringValue": "default"}]}
    }
    assert [(one.key, one.value.string_value) for one in first.attributes.values] == [("mesh", "default")]
    assert second.body.string_value.startswith('[%START_TIME%] default "%REQ(:METHOD)%')
    assert third.body.string_value == "zone-1"
    assert first.grpc_service.envoy_grpc.cluster_name == "meshaccesslog:opentelemetry:outbound:collector:4317"


def test_collectors_are_clusters_of_their_own(drafts):
    """One for each collector, over HTTP/2; names are resolved, addresses are not; the port has a default."""
    draft = _outbound(drafts, _otel(), _otel("10.0.0.9"), _otel())

    named, addressed = draft.extra_clusters
    assert (named.cluster.type, addressed.cluster.type) == (named.cluster.STRICT_DNS, named.cluster.STATIC)
    assert named.cluster.dns_lookup_family == named.cluster.V4_ONLY
    address = addressed.cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (address.address, address.port_value) == ("10.0.0.9", 4317)
    assert named.http.explicit_http_config.HasField("http2_protocol_options")
    packed = [resource.name for resource in packed_outbound(draft)]
    assert packed[2:] == [named.cluster.name, addressed.cluster.name]


def test_an_inbound_packs_its_collectors_under_a_name_of_its_own(drafts):
    """Inbounds and outbounds of a proxy are kept apart, so one name never belongs to both."""
    draft = drafts.inbound("tcp", TlsMode.PERMISSIVE)
    inbound(draft, InboundRules((_rule(_otel()),)))

    names = [resource.name for resource in packed_inbound(draft)]
    assert names[2:] == ["meshaccesslog:opentelemetry:inbound:collector:4317"]


def test_a_collector_of_a_kind_that_is_not_served_is_left_out(drafts):
    """A reference to a MeshOpenTelemetryBackend has no effect yet."""
    ref = {"kind": "MeshOpenTelemetryBackend", "labels": {"a": "b"}}
    draft = _outbound(drafts, {"type": "OpenTelemetry", "openTelemetry": {"backendRef": ref}}, _file())

    assert [logger.name for logger in _logs(draft.chain)] == [FILE_LOGGER]
    assert draft.extra_clusters == []


@pytest.mark.parametrize("rules", [Towards({}), Towards({"other": Merged(_conf(_file()), (KEY,))}, spoken=True)])
def test_without_a_policy_nothing_is_logged(drafts, rules):
    """Silence, and no cluster, where no policy speaks."""
    draft, untouched = drafts.outbound("http"), drafts.outbound("http")
    outbound(draft, rules)

    assert draft.chain == untouched.chain


def test_an_empty_list_switches_logging_off(drafts):
    """A policy of higher rank may say: nothing here."""
    assert _logs(_outbound(drafts).chain) == []


def test_envoy_accepts_every_kind_of_logger(drafts, envoy, tmp_path):
    """Files, servers and collectors; text and JSON; by identity, server name and route."""
    fields = [{"key": "a", "value": "%REQ(:PATH)%"}]
    backends = [
        _file("/dev/null"), _file("/dev/null", type="Json", json=fields, omitEmptyValues=True),
        _tcp(), _tcp(type="Json", json=fields), _otel("127.0.0.1:4317", attributes=fields, body="%START_TIME(%s)%"),
    ]  # fmt: skip
    match = {**_spiffe("spiffe://default/a.b-c"), "sni": {"type": "Exact", "value": "backend.mesh"}}
    to = [drafts.outbound("http", "a"), drafts.outbound("tcp", "b")]
    for draft, service in zip(to, ("a", "b"), strict=True):
        draft.view = replace(draft.view, logs=LogFacts(workdir=str(tmp_path)))
        for route in draft.chain.routes():
            route.name = 'ro"ute'
        conf = Merged(_conf(*backends), (KEY,))
        outbound(draft, Towards({service: conf}, spoken=True, routes={'ro"ute': conf}))
    to[0].clusters += to[0].extra_clusters
    own = [drafts.inbound("http", TlsMode.PERMISSIVE), drafts.inbound("tcp", TlsMode.STRICT, workload_port=8081)]
    for draft in own:
        inbound(draft, InboundRules((_rule(*backends[:2], match=match), _rule(*backends[:2]))))

    assert envoy.accepts(*to, *own)


def _routed(drafts, folder):
    """An outbound with a route that has a log of its own, and another one that has not."""
    draft = drafts.outbound("http")
    [other] = draft.chain.routes()
    other.name, other.match.prefix = "other", "/other"
    draft.chain.http.route_config.virtual_hosts[0].routes.add(name="special").match.prefix = "/special"
    for route in draft.chain.routes():
        route.direct_response.status = 200
    own = {"special": [_plain(folder / "routed", "%REQ(:PATH)%")]}
    outbound(draft, _towards(_plain(folder / "common", "%REQ(:PATH)%"), routes=own))
    return draft


def test_records_for_a_collector_say_whose_they_are(drafts):
    """Mesh, zone and workload, as in Kuma; what is not known is left out."""
    known, unknown = (drafts.outbound("http") for _ in range(2))
    known.view = replace(known.view, logs=FACTS)
    found = []
    for draft in (known, unknown):
        outbound(draft, _towards(_otel()))
        resource = _unpacked(_logs(draft.chain)[0], OpenTelemetryAccessLogConfig).resource_attributes
        found.append({one.key: one.value.string_value for one in resource.values})

    assert found == [
        {"kuma.mesh": "default", "kuma.zone": "zone-1", "kuma.workload": WORKLOAD},
        {"kuma.mesh": "default"},
    ]


def _by_client(drafts, folder, protocol, port):
    """An inbound with logs for some clients, and one for all."""
    draft = drafts.inbound(protocol, TlsMode.STRICT, workload_port=port)
    sni = {"sni": {"type": "Exact", "value": "backend.mesh"}}
    prefix, exact, nobody = (
        _plain(folder / f"{protocol}-{name}", "%DOWNSTREAM_PEER_URI_SAN%") for name in ("prefix", "exact", "nobody")
    )
    rules = (
        _rule(exact, match=_spiffe("spiffe://default/web")),
        _rule(prefix, match={**_spiffe("spiffe://default/we", "Prefix"), **sni}),
        _rule(prefix, match=_spiffe("spiffe://default/w", "Prefix")),
        _rule(nobody, match=_spiffe("spiffe://default/ap")),
        _rule(_plain(folder / f"{protocol}-all", "%REQUESTED_SERVER_NAME%")),
    )
    inbound(draft, InboundRules(rules))
    return draft


def test_a_request_is_logged_by_every_rule_that_holds_for_its_client(drafts, envoy, authority, tmp_path):
    """Once by each, however many matches of a rule hold, over HTTP and TCP; a route with its own log uses only that."""
    with application() as first, application() as second:
        routed = _routed(drafts, tmp_path)
        own = _by_client(drafts, tmp_path, "http", first), _by_client(drafts, tmp_path, "tcp", second)
        with envoy.running(routed, *own):
            for path in ("/special", "/other", "/nowhere"):
                get(routed.view.port, path)
            for draft in own:
                for uris in (WEB, ("spiffe://default/wet",), ("spiffe://default/api",)):
                    get(draft.view.port, authority=authority, uris=uris)
            # Envoy may take ten seconds to flush its files.
            assert _awaited(tmp_path / "routed", 1) == ["/special"]
            assert sorted(_awaited(tmp_path / "common", 2)) == ["/nowhere", "/other"]
            for protocol in ("http", "tcp"):
                assert _awaited(tmp_path / f"{protocol}-all", 3) == ["backend.mesh"] * 3
                assert _awaited(tmp_path / f"{protocol}-exact", 1) == [",".join(WEB)]
                assert _awaited(tmp_path / f"{protocol}-prefix", 2) == [",".join(WEB), "spiffe://default/wet"]
                assert (tmp_path / f"{protocol}-nobody").read_bytes() == b""


@pytest.mark.parametrize(("mode", "chains"), [(TlsMode.OFF, [1]), (TlsMode.PERMISSIVE, [1, 2]), (TlsMode.STRICT, [2])])
def test_a_rule_for_some_clients_needs_certificates(drafts, mode, chains):
    """Who calls without one has no identity, and is logged by the rules for everybody only."""
    draft = drafts.inbound("http", mode)
    inbound(draft, InboundRules((_rule(_file(), match=_spiffe("spiffe://default/web")), _rule(_file("/logs/all")))))

    assert [len(_logs(chain)) for chain in draft.chains] == chains


TEXTS = st.sampled_from(["x", "%KUMA_MESH% %PROTOCOL%", PLACEHOLDERS, "100%%"])
FORMATS = st.none() | st.sampled_from(["Plain", "Json"]).flatmap(
    lambda kind: st.fixed_dictionaries(
        {
            "type": st.just(kind),
            "plain": TEXTS,
            "json": st.lists(
                st.fixed_dictionaries({"key": st.sampled_from("ab"), "value": TEXTS}), min_size=1, max_size=2
            ),
        },
        optional={"omitEmptyValues": st.booleans()},
    )
)
BACKENDS = st.one_of(
    FORMATS.map(lambda one: {"type": "File", "file": {"path": "/logs/a", "format": one}}),
    FORMATS.map(lambda one: {"type": "Tcp", "tcp": {"address": "10.0.0.1:1", "format": one}}),
    st.builds(_otel, st.sampled_from(["a:1", "10.0.0.1", "[::1]:4317"]), body=st.none() | TEXTS),
)
MATCHES = st.none() | st.sampled_from(
    [
        {},
        _spiffe("spiffe://default/web"),
        _spiffe("spiffe://default", "Prefix"),
        {"sni": {"type": "Exact", "value": "backend.mesh"}},
        {**_spiffe("spiffe://default/web"), "sni": {"type": "Exact", "value": "backend.mesh"}},
    ]
)
PROTOCOLS = st.sampled_from(["http", "http2", "grpc", "tcp", "kafka"])
MODES = st.sampled_from(list(TlsMode))


@given(confs=st.lists(st.tuples(st.lists(BACKENDS, max_size=3), MATCHES), max_size=4), protocol=PROTOCOLS, mode=MODES)
def test_any_backends_can_be_used(drafts, confs, protocol, mode):
    """What was accepted never fails later; every collector named by a logger is a cluster that the proxy gets."""
    own, to = drafts.inbound(protocol, mode), drafts.outbound(protocol)
    inbound(own, InboundRules(tuple(_rule(*backends, match=match) for backends, match in confs)))
    for backends, _ in confs:
        outbound(to, _towards(*backends))

    for chains, draft in ((own.chains, own), ([to.chain], to)):
        known = {cluster.cluster.name for cluster in draft.extra_clusters}
        used = {
            _unpacked(logger, OpenTelemetryAccessLogConfig).grpc_service.envoy_grpc.cluster_name
            for chain in chains
            for logger in _logs(chain)
            if logger.name == OTEL_LOGGER
        }
        assert used <= known
        assert len(known) == len(draft.extra_clusters)

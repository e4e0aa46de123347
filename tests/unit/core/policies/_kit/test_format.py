import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.policies._kit.format import format_violations
from kuma.envoy_api.envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog

NO_COALESCE = '%COALESCE% needs plain JSON such as {"operators": ["PROTOCOL", {"command": "REQ", "param": ":path"}]}'


def _problem(text):
    return [found.reason for found in format_violations(text, "here")]


ACCEPTED = [
    "",
    "plain",
    "100%%",
    "%START_TIME% %START_TIME()% %START_TIME(%Y/%m/%dT%H:%M:%S%z %s)% %EMIT_TIME(%s)%",
    "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH):10% %RESP(a)% %TRAILER(grpc-status)%",
    "%DYNAMIC_METADATA(com.test:key):3% %METADATA(ROUTE:a:b):9% %FILTER_STATE(a:PLAIN)%",
    "%COMMON_DURATION(DS_RX_BEG:US_TX_END:ms)% %COMMON_DURATION(a:b)% %DURATION%ms",
    "%PATH% %PATH(WQ):20% %PATH(NQ:ORIG)% %QUERY_PARAMS(DECODED):5% %QUERY_PARAM(a):0%",
    "%CEL(request.headers['x-user'])% %TYPED_CEL(xds.cluster_metadata.filter_metadata[\"a\"].b[0]):5%",
    '%COALESCE({"operators": ["PROTOCOL", {"command": "REQ", "param": ":path", "max_length": 5}]}):9%',
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_envoy_understands_is_accepted(text):
    """Commands with and without arguments and lengths, and percent signs written twice."""
    assert _problem(text) == []


def test_envoy_takes_what_is_accepted(drafts, envoy):
    """Each as the format of an access log, in a real Envoy."""
    draft = drafts.inbound("tcp")
    for text in filter(None, ACCEPTED):
        config = FileAccessLog(path="/dev/null")
        config.log_format.text_format_source.inline_string = text
        draft.chains[0].tcp.access_log.add(name="envoy.access_loggers.file").typed_config.Pack(config)

    assert envoy.accepts(draft)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("50% of", "has a % at character 3 that starts no command; a percent sign is written %%"),
        ("%", "has a % at character 1 that starts no command; a percent sign is written %%"),
        ("%start_time%", "has a % at character 1 that starts no command; a percent sign is written %%"),
        ("ok %FOO%", "%FOO% is no command that Envoy knows"),
        ("%REQ%", "%REQ% needs an argument: %REQ(…)%"),
        ("%REQ()%", "%REQ% needs an argument: %REQ(…)%"),
        ("%REQ(a b)%", "%REQ(a b)% has an argument Envoy does not take"),
        ("%PROTOCOL(x)%", "%PROTOCOL% takes no argument"),
        ("%PROTOCOL:5%", "%PROTOCOL% takes no length"),
        ("%START_TIME(%Y):5%", "%START_TIME% takes no length"),
        ("%START_TIME(%Y\n)%", "has a % at character 1 that starts no command; a percent sign is written %%"),
        ("%COMMON_DURATION(a:b:s)%", "%COMMON_DURATION(a:b:s)% has an argument Envoy does not take"),
        *(
            (
                f"%CEL({expression})%",
                f"%CEL({expression})% must name a value, such as request.headers['x-user']; nothing is computed",
            )
            for expression in ("1 +", "foo(1)", "a.in", "namespace", "a['\\x']", "a" + ".b" * 40)
        ),
        *((f"%COALESCE({text})%", NO_COALESCE) for text in ("x", "{}", "[]", '{"operators": []}', '{"a": "\\n"}')),
        ('%COALESCE({"operators": ["REQ"]})%', "in %COALESCE%: %REQ% needs an argument: %REQ(…)%"),
        ('%COALESCE({"operators": ["COALESCE"]})%', 'in %COALESCE%: "COALESCE" is no command'),
        ('%COALESCE({"operators": [{"command": 1}]})%', 'in %COALESCE%: {"command": 1} is no command'),
        ("x" * 40_000, "must not be longer than 32768 characters"),
    ],
)
def test_what_envoy_would_refuse_is_named(text, reason):
    """With a wrong command Envoy refuses the listener, and every later change of the proxy with it."""
    assert _problem(text) == [reason]


@given(st.text(alphabet="%()AREQ:1? ", max_size=40))
def test_any_text_is_judged(text):
    """At most one fault is named, and never an exception."""
    assert len(_problem(text)) <= 1

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.policies._kit.format import format_violations


def _problem(text):
    return [found.reason for found in format_violations(text, "here")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "100%%",
        "%START_TIME% %START_TIME(%Y/%m/%dT%H:%M:%S%z %s)% %EMIT_TIME(%s)%",
        "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH):10% %RESP(a)% %TRAILER(grpc-status)%",
        "%DYNAMIC_METADATA(com.test:key):3% %METADATA(ROUTE:a:b)% %FILTER_STATE(a:PLAIN)%",
        "%COMMON_DURATION(DS_RX_BEG:US_TX_END:ms)% %DURATION%ms",
    ],
)
def test_what_envoy_understands_is_accepted(text):
    """Commands with and without arguments and lengths, and percent signs written twice."""
    assert _problem(text) == []


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

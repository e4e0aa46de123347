import json

import pytest

from kuma.core.model.resource import Key
from kuma.core.policies._kit.rules import Merged, Towards
from kuma.core.policies.meshretry.apply import outbound
from kuma.core.policies.meshretry.spec import Conf
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import RetryPolicy
from kuma.envoy_api.envoy.extensions.retry.host.omit_host_metadata.v3.omit_host_metadata_config_pb2 import (
    OmitHostMetadataConfig,
)
from kuma.envoy_api.envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import (
    PreviousPrioritiesConfig,
)

COMMON = {
    "numRetries": 3,
    "perTryTimeout": "16s",
    "backOff": {"baseInterval": "30ms", "maxInterval": "300ms"},
    "rateLimitedBackOff": {
        "maxInterval": "9s",
        "resetHeaders": [{"name": "retry-after", "format": "Seconds"}, {"name": "x-at", "format": "UnixTimestamp"}],
    },
}
HEADERS = [
    {"name": "a", "value": "1"},
    {"name": "b", "type": "Present"},
    {"name": "c", "type": "Absent"},
    {"name": "d", "type": "Prefix", "value": "p"},
    {"name": "e", "type": "RegularExpression", "value": "x.*"},
]
ALL = {
    "tcp": {"maxConnectAttempt": 5},
    "http": {
        **COMMON,
        "retryOn": [
            "5xx",
            "GatewayError",
            "Reset",
            "Retriable4xx",
            "ConnectFailure",
            "EnvoyRatelimited",
            "RefusedStream",
            "Http3PostConnectFailure",
            "HttpMethodGet",
            "503",
            "429",
        ],
        "retriableRequestHeaders": HEADERS,
        "retriableResponseHeaders": HEADERS,
        "hostSelection": [
            {"predicate": "OmitPreviousHosts"},
            {"predicate": "OmitHostsWithTags", "tags": {"version": "v1"}},
            {"predicate": "OmitPreviousPriorities", "updateFrequency": 3},
        ],
        "hostSelectionMaxAttempts": 7,
    },
    "grpc": {**COMMON, "retryOn": ["Canceled", "DeadlineExceeded", "Internal", "ResourceExhausted", "Unavailable"]},
}


def _towards(conf, service="backend"):
    parsed = Conf.model_validate_json(json.dumps(conf))
    return Towards({service: Merged(parsed, (Key("MeshRetry", "default", "mine"),))}, spoken=True)


def _retried(drafts, protocol, conf):
    draft = drafts.outbound(protocol)
    outbound(draft, _towards(conf))
    return draft.chain.routes()[0].route.retry_policy


def test_connections_are_tried_again(drafts):
    """A TCP destination gets its number of connection attempts."""
    draft = drafts.outbound("tcp")
    outbound(draft, _towards(ALL))

    assert draft.chain.tcp.max_connect_attempts.value == 5


def test_http_requests_are_tried_again_under_the_conditions_given(drafts):
    """Conditions, statuses and methods of `retryOn` end where Envoy looks for each."""
    policy = _retried(drafts, "http", ALL)

    assert policy.retry_on == (
        "5xx,gateway-error,reset,retriable-4xx,connect-failure,envoy-ratelimited,refused-stream,"
        "http3-post-connect-failure,retriable-status-codes"
    )
    assert list(policy.retriable_status_codes) == [503, 429]
    assert policy.num_retries.value == 3
    assert policy.per_try_timeout.seconds == 16
    assert policy.retriable_request_headers[0].name == ":method"
    assert policy.retriable_request_headers[0].string_match.exact == "GET"


def test_retries_wait_as_configured(drafts):
    """Own back-off and the one that the service asks for by a header."""
    policy = _retried(drafts, "http", ALL)

    assert policy.retry_back_off.base_interval.ToMilliseconds() == 30
    assert policy.retry_back_off.max_interval.ToMilliseconds() == 300
    limited = policy.rate_limited_retry_back_off
    assert limited.max_interval.seconds == 9
    assert [(header.name, header.format) for header in limited.reset_headers] == [
        ("retry-after", RetryPolicy.SECONDS),
        ("x-at", RetryPolicy.UNIX_TIMESTAMP),
    ]


def test_headers_decide_whether_to_try_again(drafts):
    """All five ways to match a header, for requests and for responses."""
    policy = _retried(drafts, "http", ALL)

    exact, present, absent, prefix, regex = policy.retriable_headers
    assert exact.string_match.exact == "1"
    assert present.present_match
    assert absent.WhichOneof("header_match_specifier") == "present_match"
    assert not absent.present_match
    assert prefix.string_match.prefix == "p"
    assert regex.string_match.safe_regex.regex == "x.*"
    assert list(policy.retriable_request_headers)[1:] == list(policy.retriable_headers)


def test_retries_choose_other_endpoints(drafts):
    """Endpoints already tried, with certain tags, or of priorities already tried are left out."""
    policy = _retried(drafts, "http", ALL)

    previous, tagged = policy.retry_host_predicate
    tags, priorities = OmitHostMetadataConfig(), PreviousPrioritiesConfig()
    tagged.typed_config.Unpack(tags)
    policy.retry_priority.typed_config.Unpack(priorities)
    assert previous.name == "envoy.retry_host_predicates.previous_hosts"
    assert tags.metadata_match.filter_metadata["envoy.lb"]["version"] == "v1"
    assert priorities.update_frequency == 3
    assert policy.host_selection_retry_max_attempts == 7


def test_grpc_calls_are_tried_again_under_the_conditions_given(drafts):
    """Calls of gRPC have their own conditions and the same back-offs."""
    policy = _retried(drafts, "grpc", ALL)

    assert policy.retry_on == "cancelled,deadline-exceeded,internal,resource-exhausted,unavailable"
    assert policy.retry_back_off.base_interval.ToMilliseconds() == 30
    assert policy.num_retries.value == 3


@pytest.mark.parametrize(
    ("protocol", "conditions"),
    [
        ("http", "gateway-error,connect-failure,refused-stream"),
        ("grpc", "cancelled,connect-failure,gateway-error,refused-stream,reset,resource-exhausted,unavailable"),
    ],
)
def test_without_conditions_the_safe_ones_apply(drafts, protocol, conditions):
    """Only failures that are safe to repeat, unless the user says more."""
    assert _retried(drafts, protocol, {protocol: {"numRetries": 1}}).retry_on == conditions


def test_status_codes_alone_keep_the_default_conditions(drafts):
    """A status is an additional reason to try again."""
    policy = _retried(drafts, "http", {"http": {"retryOn": ["503"]}})

    assert policy.retry_on == "gateway-error,connect-failure,refused-stream,retriable-status-codes"


@pytest.mark.parametrize("protocol", ["http", "grpc", "http2"])
def test_no_retries_where_none_are_asked_for(drafts, protocol):
    """Zero retries means no policy, and HTTP/2 gets none at all."""
    draft = drafts.outbound(protocol)
    zero = {"http": {"numRetries": 0}, "grpc": {"numRetries": 0}}
    outbound(draft, _towards(ALL if protocol == "http2" else zero))

    assert not draft.chain.routes()[0].route.HasField("retry_policy")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    ("back_off", "base", "most"),
    [
        ({"maxInterval": "1s"}, 25, 1000),
        ({"maxInterval": "10ms"}, 10, 10),
        ({"baseInterval": "1s", "maxInterval": "10ms"}, 1000, 1000),
    ],
)
def test_a_back_off_is_always_one_envoy_accepts(drafts, protocol, back_off, base, most):
    """Envoy refuses a back-off without base or with a maximum below it; policies merged may make either."""
    found = _retried(drafts, protocol, {protocol: {"backOff": back_off}}).retry_back_off

    assert (found.base_interval.ToMilliseconds(), found.max_interval.ToMilliseconds()) == (base, most)


def test_other_services_are_not_retried(drafts):
    """A conf for one service says nothing of another."""
    draft, untouched = drafts.outbound(), drafts.outbound()
    outbound(draft, _towards(ALL, "other"))

    assert draft.chain == untouched.chain


def test_envoy_accepts_every_knob(drafts, envoy):
    """Envoy takes all retry settings for TCP, HTTP and gRPC."""
    made = [drafts.outbound(protocol, protocol) for protocol in ("tcp", "http", "grpc")]
    for draft in made:
        outbound(draft, _towards(ALL, draft.view.protocol))

    assert envoy.accepts(*made)

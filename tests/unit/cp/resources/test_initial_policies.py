"""The policies a new mesh starts with."""

import pytest

from kuma.core.model.codec import decode_spec
from kuma.core.model.kinds import BY_NAME
from kuma.core.model.resource import Key, Meta, Resource, definition
from kuma.cp.resources.initial_policies import puts

TIMEOUTS = ["mesh-timeout-all-m", "mesh-gateways-timeout-all-m"]
OTHERS = ["mesh-circuit-breaker-all-m", "mesh-retry-all-m"]


@pytest.mark.parametrize(
    "skipped, left",
    [
        ([], TIMEOUTS + OTHERS),
        (["MeshTimeout"], OTHERS),
        (["MeshRetry", "MeshCircuitBreaker", "Unknown"], TIMEOUTS),
        (["*"], []),
        (["MeshRetry", "*"], []),
    ],
)
def test_a_mesh_names_the_kinds_it_starts_without(skipped, left):
    """By type, or all of them by a star."""
    assert [put.key.name for put in puts("m", "default", "universal", skipped)] == left


def test_each_would_be_accepted_from_a_user():
    """They obey the rules they are an example of, belong to the mesh and carry its labels."""
    for put in puts("m", "east", "universal", ()):
        resource = Resource(Meta(put.key, put.labels), decode_spec(put.key.kind, put.spec))
        assert tuple(definition(put.key.kind).validate(resource)) == ()
        assert put.owner == Key("Mesh", "", "m")
        assert BY_NAME[put.key.kind].policy is not None
        assert put.labels == {
            "kuma.io/env": "universal",
            "kuma.io/mesh": "m",
            "kuma.io/origin": "zone",
            "kuma.io/zone": "east",
        }


def test_the_values_are_those_kuma_users_know():
    """Spot checks of the table in spec/api-server.md §8, printed as the API prints them."""
    by_name = {put.key.name: decode_spec(put.key.kind, put.spec).to_json() for put in puts("m", "z", "universal", ())}

    assert by_name["mesh-timeout-all-m"] == {
        "targetRef": {"kind": "Mesh", "proxyTypes": ["Sidecar"]},
        "from": [
            {
                "targetRef": {"kind": "Mesh"},
                "default": {
                    "connectionTimeout": "10s",
                    "idleTimeout": "2h0m0s",
                    "http": {"requestTimeout": "0s", "streamIdleTimeout": "1h0m0s", "maxStreamDuration": "0s"},
                },
            }
        ],
        "to": [
            {
                "targetRef": {"kind": "Mesh"},
                "default": {
                    "connectionTimeout": "5s",
                    "idleTimeout": "1h0m0s",
                    "http": {"requestTimeout": "15s", "streamIdleTimeout": "30m0s"},
                },
            }
        ],
    }
    retry = by_name["mesh-retry-all-m"]["to"][0]["default"]
    assert retry["tcp"] == {"maxConnectAttempt": 5}
    assert retry["http"] == retry["grpc"]
    assert retry["http"]["backOff"] == {"baseInterval": "25ms", "maxInterval": "250ms"}

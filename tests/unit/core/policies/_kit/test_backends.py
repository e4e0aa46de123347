import json

import pytest

from kuma.core.policies._kit.backends import BackendRef, Weighted, service_tags, shares, write_shares
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import RouteAction
from kuma.envoy_api.envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy


def _ref(kind, **fields):
    return BackendRef.model_validate_json(json.dumps({"kind": kind, **fields}))


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (_ref("MeshService", name="web"), (("kuma.io/service", "web"),)),
        (_ref("MeshService", name="web", namespace="ns"), (("kuma.io/service", "web"),)),
        (
            _ref("MeshServiceSubset", name="web", tags={"version": "1", "a": "b"}),
            (("a", "b"), ("kuma.io/service", "web"), ("version", "1")),
        ),
        (_ref("MeshServiceSubset", name="web", tags={"kuma.io/service": "x"}), (("kuma.io/service", "web"),)),
        (_ref("MeshService", name="web", port=80), None),
        (_ref("MeshService", name="web", sectionName="http"), None),
        (_ref("MeshService", labels={"a": "b"}), None),
        (_ref("MeshExternalService", name="out"), None),
        (_ref("MeshMultiZoneService", name="web", port=80), None),
    ],
)
def test_a_reference_is_to_a_service_or_to_an_object(ref, expected):
    """A port or a section makes a MeshService an object; without them its name is a `kuma.io/service`."""
    assert service_tags(ref) == expected


def test_backends_become_clusters_with_their_weights():
    """In the order written; without weight or without a cluster a backend is none."""
    refs = [
        _ref("MeshService", name="web"),
        _ref("MeshService", name="off", weight=0),
        _ref("MeshService", name="gone", weight=3),
        _ref("MeshExternalService", name="out", weight=2),
    ]

    clusters = {"web": "c1", "off": "c2", "out": "c3"}

    assert shares(refs, lambda ref: clusters.get(ref.name)) == (
        Weighted("c1", 1),
        Weighted("c3", 2, external=True),
    )


@pytest.mark.parametrize("made", [RouteAction, TcpProxy])
def test_routes_and_connections_are_led_to_clusters(made):
    """One cluster by name, several by weight, whatever was there before."""
    target = made(cluster="before")
    write_shares(target, [Weighted("a", 1), Weighted("b", 2)])
    assert [one.name for one in target.weighted_clusters.clusters] == ["a", "b"]

    write_shares(target, [Weighted("c", 7)])
    assert target.cluster == "c"

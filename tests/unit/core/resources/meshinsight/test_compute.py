from kuma.core.resources.meshinsight.compute import compute
from kuma.core.resources.meshinsight.spec import MeshInsight
from tests.unit.core.resources.fleet import FLEET, INSIGHTS

COUNTS = {"Dataplane": 4, "MeshTimeout": 2, "Secret": 1, "MeshRetry": 0}
ONLINE = {"total": 1, "online": 1}


def test_the_figures_of_a_mesh():
    """Every proxy is counted once by how it stands, by its kind, its versions and its authorities."""
    assert compute(FLEET, INSIGHTS, COUNTS).to_json() == {
        "dataplanes": {"total": 4, "online": 2, "offline": 1, "partiallyDegraded": 1},
        "dataplanesByType": {
            "standard": {"total": 3, "online": 1, "offline": 1, "partiallyDegraded": 1},
            "gateway": ONLINE,
            "gatewayBuiltin": {},
            "gatewayDelegated": ONLINE,
        },
        "policies": {"MeshTimeout": {"total": 2}},
        "resources": {"Dataplane": {"total": 4}, "MeshTimeout": {"total": 2}, "Secret": {"total": 1}},
        "dpVersions": {
            "kumaDp": {
                "2.14.3": {"total": 2, "online": 2},
                "unknown": {"total": 2, "offline": 1, "partiallyDegraded": 1},
            },
            "envoy": {
                "1.40.0": {"total": 3, "online": 2, "partiallyDegraded": 1},
                "unknown": {"total": 1, "offline": 1},
            },
        },
        "mTLS": {
            "issuedBackends": {"ca-1": {"total": 2, "online": 1, "partiallyDegraded": 1}},
            "supportedBackends": {
                "ca-1": {"total": 2, "online": 1, "partiallyDegraded": 1},
                "ca-2": {"total": 2, "online": 1, "partiallyDegraded": 1},
            },
        },
        "services": {"total": 3, "internal": 3},
    }


def test_the_order_of_proxies_does_not_matter():
    """Two replicas that list proxies in another order show the same."""
    assert compute(reversed(FLEET), INSIGHTS, COUNTS) == compute(FLEET, INSIGHTS, COUNTS)


def test_an_empty_mesh_shows_empty_sections():
    """A client finds every section it looks for, also in a mesh without proxies."""
    printed = compute([], {}, {}).to_json()
    assert printed == {
        "dataplanes": {},
        "dataplanesByType": {"standard": {}, "gateway": {}, "gatewayBuiltin": {}, "gatewayDelegated": {}},
        "dpVersions": {},
        "mTLS": {},
        "services": {},
    }
    assert MeshInsight.model_validate(printed) == compute([], {}, {})

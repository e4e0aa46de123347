from itertools import permutations

from kuma.core.resources.serviceinsight.compute import compute, service
from tests.unit.core.resources.fleet import FLEET, INSIGHTS, connected, inbound, proxy


def test_each_service_is_counted_by_its_proxies():
    """A proxy counts once per service; a service is online only when all its proxies are."""
    assert compute(FLEET, INSIGHTS).to_json() == {
        "services": {
            "api": {
                "status": "offline",
                "dataplanes": {"total": 1, "offline": 1},
                "issuedBackends": {"ca-1": 1},
                "addressPort": "api.mesh:80",
                "zones": ["east"],
            },
            "edge": {
                "status": "online",
                "dataplanes": {"total": 1, "online": 1},
                "serviceType": "gateway_delegated",
            },
            "web": {
                "status": "partially_degraded",
                "dataplanes": {"total": 3, "online": 2, "offline": 1},
                "issuedBackends": {"ca-1": 2},
                "addressPort": "web.mesh:80",
                "zones": ["east", "west"],
            },
        }
    }


def test_an_instance_that_is_ready_in_part_degrades_its_service():
    """Two inbounds of one service, one of them down: neither online nor offline."""
    half = proxy("half", inbound=[inbound("web"), inbound("web", port=81, state="NotReady")])
    found = service(compute([half], {"half": connected()}), "web")
    assert found.to_json()["status"] == "partially_degraded"
    assert found.to_json()["dataplanes"] == {"total": 1}


def test_ignored_inbounds_offer_nothing():
    """An inbound that is out of service by intention is not a service."""
    one = proxy("one", inbound=[inbound("web", state="Ignored"), {"port": 81}])
    assert compute([one], {"one": connected()}).to_json() == {}


def test_an_unknown_service_has_zero_figures():
    """Asking for a service that nobody offers gives zeros, not an error."""
    assert service(compute([], {}), "nobody").to_json() == {"dataplanes": {}}


def test_the_order_of_proxies_does_not_matter():
    """Also not when a gateway and a plain proxy claim the same service."""
    proxies = [
        proxy("a", inbound=[inbound("edge")]),
        proxy("b", gateway={"type": "BUILTIN", "tags": {"kuma.io/service": "edge"}}),
        proxy("c", gateway={"tags": {"kuma.io/service": "edge"}}),
    ]
    assert len({str(compute(order, {}).to_json()) for order in permutations(proxies)}) == 1
    assert service(compute(proxies, {}), "edge").to_json()["serviceType"] == "gateway_builtin"

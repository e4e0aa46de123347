"""Which instance of a service a request goes to: shares, stickiness, and what is near."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.clients import CallFailed, HttpAnswer
from tests.e2e.harness.documents import Inbound, builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import wait_until

NAMES = ("i1", "i2", "i3", "i4")
MANY = "abcdefghijkl"
"""So many that all lead to one instance by chance once in a million."""


class Instance:
    """An HTTP/1.1 service that says its name; ``/slow`` is answered when the test says so."""

    def __init__(self, name: str) -> None:
        self.held = threading.Semaphore(0)
        self.released = threading.Event()
        instance = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/slow":
                    instance.held.release()
                    instance.released.wait(30)  # its own handler
                self.send_response(200)
                self.send_header("content-length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, format: str, *args: object) -> None:  # the name is the base class's
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign] # callers may leave
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Shop:
    """Four instances of a service behind one proxy, and a caller."""

    lab: Lab
    instances: Mapping[str, Instance]
    caller: Proxy

    def apply(self, document: str) -> None:
        """Apply, and wait until every proxy has it."""
        self.lab.control_plane.kumactl("apply", "--wait", "-f", "-", stdin=document)

    def balance(self, conf: str, *, to: str = "kind: MeshService, name: web", name: str = "lb") -> None:
        """The MeshLoadBalancingStrategy of the mesh; the conf is one line of YAML without its braces."""
        self.apply(
            f"type: MeshLoadBalancingStrategy\nmesh: shop\nname: {name}\nspec:\n  to:\n"
            f"    - targetRef: {{{to}}}\n      default: {{{conf}}}\n"
        )

    def ask(self, path: str = "/", headers: Mapping[str, str] | None = None, source: str = "127.0.0.1") -> HttpAnswer:
        """A request from an address of this machine."""
        port = self.caller.outbound("web")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
        try:
            connection.request("GET", path, headers={"connection": "close", **(headers or {})})
            response = connection.getresponse()
            found = {key.lower(): value for key, value in response.getheaders()}
            return HttpAnswer(response.status, response.read().decode(), found)
        except (OSError, http.client.HTTPException) as error:
            raise CallFailed(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def shares(self, times: int) -> Counter[str]:
        """How often each instance answers."""
        return Counter(self.ask().body for _ in range(times))


@pytest.fixture(scope="module")
def shop(lasting_lab: Lab) -> Iterator[Shop]:
    """The mesh that the tests look at, with mutual TLS."""
    lab = lasting_lab
    lab.mesh(documents.mesh("shop", builtin("ca-1")))
    lab.mesh(permission("shop", "everyone"))
    instances = {name: Instance(name) for name in NAMES}
    inbounds = [Inbound("web", "http", free_port(), one.port) for one in instances.values()]
    lab.proxy("servers", mesh="shop", inbounds=inbounds).launch()
    caller = lab.proxy("caller", mesh="shop", calls=("web",)).launch()
    for proxy in lab.proxies:
        proxy.wait_ready()
    made = Shop(lab, instances, caller)
    wait_until(lambda: made.shares(8).keys() == set(NAMES), "every instance answers")
    yield made
    for one in instances.values():
        one.close()


def sticks(answers: Mapping[str, list[str]]) -> bool:
    """Whether equal requests were always answered by the same instance, and different ones not all by one."""
    return all(len(set(names)) == 1 for names in answers.values()) and len({n[0] for n in answers.values()}) > 1


def test_one_after_the_other(shop):
    """Round robin: each instance gets exactly its share."""
    shop.balance("loadBalancer: {type: RoundRobin}")

    wait_until(lambda: shop.shares(20) == dict.fromkeys(NAMES, 5), "equal shares")


def test_any_of_them(shop):
    """Random: about equal shares, and no order."""
    shop.balance("loadBalancer: {type: Random}")
    wait_until(lambda: shop.shares(8) != dict.fromkeys(NAMES, 2), "no order")

    counted = shop.shares(160)

    assert counted.keys() == set(NAMES)
    assert all(15 <= times <= 75 for times in counted.values()), counted  # by chance once in 10^5


def test_the_least_busy_of_some(shop):
    """Least request: an instance that has something to do gets nothing more, while others have nothing."""
    shop.balance("loadBalancer: {type: LeastRequest, leastRequest: {choiceCount: 20}}")
    wait_until(lambda: shop.shares(12).keys() == set(NAMES), "every instance answers")
    slow: list[str] = []
    thread = threading.Thread(target=lambda: slow.append(shop.ask("/slow").body))
    thread.start()
    busy = wait_until(
        lambda: [name for name, one in shop.instances.items() if one.held.acquire(blocking=False)], "busy"
    )

    counted = shop.shares(60)

    shop.instances[busy[0]].released.set()
    thread.join(20)
    assert slow == busy
    assert counted.keys() == set(NAMES) - set(busy)  # by chance otherwise once in 10^10


@pytest.mark.parametrize("kind", ["RingHash", "Maglev"])
def test_the_same_instance_for_the_same_header(shop, kind):
    """Both ways to hash; users are spread over the instances."""
    knobs = {
        "RingHash": "ringHash: {minRingSize: 1024, hashFunction: MurmurHash2}",
        "Maglev": "maglev: {tableSize: 1009}",
    }
    shop.balance(
        f"loadBalancer: {{type: {kind}, {knobs[kind]}}}, hashPolicies: [{{type: Header, header: {{name: x-user}}}}]"
    )

    def answers() -> dict[str, list[str]]:
        return {user: [shop.ask(headers={"x-user": user}).body for _ in range(3)] for user in MANY}

    wait_until(lambda: sticks(answers()), "users stay where they are")


def test_the_same_instance_for_the_same_cookie(shop):
    """Who has none is given one that leads back to the same instance."""
    cookie = "{type: Cookie, cookie: {name: session, ttl: 1h, path: /}}"
    shop.balance(f"loadBalancer: {{type: RingHash}}, hashPolicies: [{cookie}]")
    wait_until(lambda: "set-cookie" in shop.ask().headers, "a cookie is given")

    found: dict[str, list[str]] = {}
    for _ in MANY:
        first = shop.ask()
        given = first.headers["set-cookie"]
        assert "Max-Age=3600" in given
        assert "Path=/" in given
        session = given.partition(";")[0]
        found[session] = [first.body, *(shop.ask(headers={"cookie": session}).body for _ in range(3))]

    assert sticks(found), found


def test_the_same_instance_for_the_same_address(shop):
    """Callers on different addresses are spread."""
    shop.balance(
        "loadBalancer: {type: Maglev}, hashPolicies: [{type: Connection, connection: {sourceIP: true}, terminal: true}]"
    )

    def answers() -> dict[str, list[str]]:
        return {
            f"127.0.1.{n}": [shop.ask(source=f"127.0.1.{n}").body for _ in range(3)] for n in range(1, len(MANY) + 1)
        }

    wait_until(lambda: sticks(answers()), "addresses stay where they are")


def test_one_route_hashes_in_its_own_way(shop):
    """A policy for a MeshHTTPRoute says by what its requests are told apart; the service keeps its own way."""
    shop.apply(
        "type: MeshHTTPRoute\nmesh: shop\nname: special\nspec:\n  to:\n"
        "    - targetRef: {kind: MeshService, name: web}\n"
        "      rules: [{matches: [{path: {type: PathPrefix, value: /special}}], default: {}}]\n"
    )
    shop.balance("loadBalancer: {type: RingHash}, hashPolicies: [{type: Header, header: {name: x-user}}]")
    shop.balance(
        "hashPolicies: [{type: QueryParameter, queryParameter: {name: basket}}]",
        to="kind: MeshHTTPRoute, name: special",
        name="lb-special",
    )

    def by_basket() -> dict[str, list[str]]:
        return {
            basket: [shop.ask(f"/special?basket={basket}", {"x-user": user}).body for user in "abc"] for basket in MANY
        }

    wait_until(lambda: sticks(by_basket()), "baskets stay where they are, whoever asks")
    assert sticks({user: [shop.ask(headers={"x-user": user}).body for _ in range(3)] for user in MANY})


def test_what_is_near_comes_first(lab):
    """Endpoints with the same tag as the caller get nearly all; the others take over when they are gone."""
    lab.mesh(documents.mesh("racks", builtin("ca-1")))
    lab.mesh(permission("racks", "everyone"))
    racks = {"near": "r1", "far": "r2"}
    servers = {
        name: lab.proxy(
            name, mesh="racks", inbounds=[Inbound("web", "http", free_port(), lab.http(name).port, tags={"rack": rack})]
        )
        for name, rack in racks.items()
    }
    mine = Inbound("caller", "tcp", free_port(), free_port(), tags={"rack": "r1"})
    caller = lab.proxy("caller", mesh="racks", inbounds=[mine], calls=("web",))
    for proxy in lab.proxies:
        proxy.launch()
    for proxy in lab.proxies:
        proxy.wait_ready()
    port = caller.outbound("web")

    def shares(times: int) -> Counter[str]:
        return Counter(clients.http1(port) for _ in range(times))

    wait_until(lambda: shares(6) == {"near": 3, "far": 3}, "without a policy both get the same")

    lab.control_plane.kumactl(
        "apply",
        "--wait",
        "-f",
        "-",
        stdin="type: MeshLoadBalancingStrategy\nmesh: racks\nname: near\nspec:\n  to:\n    - targetRef: {kind: Mesh}\n"
        "      default: {localityAwareness: {localZone: {affinityTags: [{key: rack, weight: 1000000}]}}}\n",
    )
    wait_until(lambda: shares(20) == {"near": 20}, "the own rack gets all but one in a million")

    servers["near"].drain()
    assert shares(10) == {"far": 10}, "drained, it is out of use before it ends"

    servers["near"].start()
    wait_until(lambda: shares(20) == {"near": 20}, "it is back, and first again")

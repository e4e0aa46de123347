"""Users patch what Envoy gets; what Envoy refuses is told in its words, and traffic flows on the last good one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.documents import Inbound
from tests.e2e.harness.kumactl import Result
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.load import Load
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import wait_until

LUA = """
- httpFilter:
    operation: AddFirst
    match: {origin: inbound}
    value: |
      name: envoy.filters.http.lua
      typedConfig:
        '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
        defaultSourceCode:
          inlineString: |
            function envoy_on_response(handle)
              handle:headers():add("x-lua", "SAID")
            end
"""


@dataclass
class Workshop:
    """A service and its caller."""

    lab: Lab
    api: Proxy
    web: Proxy

    def patch(self, steps: str, *, of: str = "api-1", name: str = "patch") -> Result:
        """The MeshProxyPatch of one proxy, and what ``kumactl apply --wait`` says of it."""
        lines = "\n".join(f"      {line}" for line in steps.strip("\n").splitlines())
        document = (
            f"type: MeshProxyPatch\nmesh: shop\nname: {name}\nspec:\n"
            f"  targetRef: {{kind: Dataplane, name: {of}}}\n  default:\n    appendModifications:\n{lines}\n"
        )
        return self.lab.control_plane.kumactl.run("apply", "--wait=20s", "-f", "-", stdin=document)

    def unpatch(self, name: str = "patch") -> None:
        """Take it away."""
        self.lab.control_plane.kumactl("delete", "meshproxypatch", name, "-m", "shop")

    def answer(self, path: str = "/") -> clients.HttpAnswer:
        """What the caller is answered."""
        return clients.http1_answer(self.web.outbound("api"), path)

    def refusals(self) -> list[dict[str, str]]:
        """What the policy's page says of the proxy."""
        page = self.lab.control_plane.api.get("/meshes/shop/meshproxypatches/patch/_resources/dataplanes")
        [item] = page["items"]
        found: list[dict[str, str]] = item.get("refusals", [])
        return found


@pytest.fixture(scope="module")
def shop(lasting_lab: Lab) -> Workshop:
    """The mesh that the tests look at."""
    lab = lasting_lab
    lab.mesh(documents.mesh("shop"))
    inbound = Inbound("api", "http", free_port(), lab.http("api").port)
    api = lab.proxy("api-1", mesh="shop", inbounds=[inbound]).launch()
    web = lab.proxy("web-1", mesh="shop", calls=("api",)).launch()
    for proxy in lab.proxies:
        proxy.wait_ready()
    api.may_refuse = web.may_refuse = True  # refusals are what some tests are about
    made = Workshop(lab, api, web)
    wait_until(lambda: made.answer().status == 200, "the service answers")
    return made


def test_a_lua_filter_that_is_added_runs(shop):
    """On the answers of the service, from the next connection on."""
    result = shop.patch(LUA)
    assert result.code == 0, result.err

    wait_until(lambda: shop.answer().headers.get("x-lua") == "SAID", "the filter writes its header")
    shop.unpatch()
    wait_until(lambda: "x-lua" not in shop.answer().headers, "it is gone with the policy")


def test_a_whole_listener_and_its_cluster_are_added(shop):
    """A second way in, which the control plane knows nothing of."""
    port, service = free_port(), shop.api.inbounds[0].application_port
    result = shop.patch(f"""
- cluster:
    operation: Add
    value: |
      name: side-door
      type: STATIC
      connectTimeout: 1s
      loadAssignment:
        clusterName: side-door
        endpoints:
          - lbEndpoints:
              - endpoint: {{address: {{socketAddress: {{address: 127.0.0.1, portValue: {service}}}}}}}
- listener:
    operation: Add
    value: |
      name: side-door
      address: {{socketAddress: {{address: 127.0.0.1, portValue: {port}}}}}
      filterChains:
        - filters:
            - name: envoy.filters.network.tcp_proxy
              typedConfig:
                '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                statPrefix: side_door
                cluster: side-door
""")
    assert result.code == 0, result.err

    wait_until(lambda: clients.http1(port) == "api", "the side door is open")
    shop.unpatch()


def test_what_others_made_is_changed_and_removed(shop):
    """A virtual host by JSON patch, an HTTP filter of a former step away."""
    result = shop.patch(
        LUA
        + """
- httpFilter:
    operation: Remove
    match: {name: envoy.filters.http.lua}
- virtualHost:
    operation: Patch
    match: {origin: inbound, name: api}
    jsonPatches:
      - {op: add, path: /responseHeadersToAdd, value: [{header: {key: x-patched, value: 'yes'}}]}
"""
    )
    assert result.code == 0, result.err

    wait_until(lambda: shop.answer().headers.get("x-patched") == "yes", "the patched host writes its header")
    assert "x-lua" not in shop.answer().headers
    shop.unpatch()


def test_calls_of_a_proxy_are_patched_on_their_way_out(shop):
    """A shorter timeout of its route by JSON patch, a filter for its answers: at the caller alone."""
    shop.lab.mesh(
        "type: MeshFaultInjection\nmesh: shop\nname: slow\nspec:\n  targetRef: {kind: Dataplane, name: api-1}\n"
        "  rules: [{default: {http: [{delay: {value: 700ms, percentage: 100}}]}}]\n"
    )
    result = shop.patch(
        LUA.replace("inbound", "outbound")
        + """
- virtualHost:
    operation: Patch
    match: {origin: outbound, name: api}
    jsonPatches:
      - {op: replace, path: /routes/0/route/timeout, value: 0.2s}
""",
        of="web-1",
    )
    assert result.code == 0, result.err

    wait_until(lambda: shop.answer().status == 504, "the caller waits no longer")
    assert shop.answer().headers.get("x-lua") == "SAID"
    shop.unpatch()
    wait_until(lambda: shop.answer().status == 200, "it waits again")
    shop.lab.control_plane.kumactl("delete", "meshfaultinjection", "slow", "-m", "shop")


def test_a_proxy_that_starts_with_a_cluster_of_the_users_own(shop):
    """It takes the place of the mesh's, asks for none of its endpoints, and nobody waits for that."""
    port = shop.lab.http("mine").port
    result = shop.patch(
        f"""
- cluster:
    operation: Add
    value: |
      name: api
      type: STATIC
      connectTimeout: 1s
      loadAssignment:
        clusterName: api
        endpoints:
          - lbEndpoints:
              - endpoint: {{address: {{socketAddress: {{address: 127.0.0.1, portValue: {port}}}}}}}
""",
        of="late-1",
    )
    assert result.code == 0, result.err
    late = shop.lab.proxy("late-1", mesh="shop", calls=("api",)).start()

    wait_until(lambda: clients.http1(late.outbound("api")) == "mine", "its calls go where the user wants them")
    assert clients.http1(shop.web.outbound("api")) == "api", "those of others do not"
    shop.unpatch()
    wait_until(lambda: clients.http1(late.outbound("api")) == "api", "the mesh's cluster is back with its endpoints")


def test_a_filter_that_envoy_does_not_have(shop):
    """Only the operator notices: calls go on, changes reach other proxies, and without the patch all is well."""
    web = shop.web.outbound("api")
    with Load(lambda: clients.http1(web)) as load:
        refused = shop.patch("""
- httpFilter:
    operation: AddFirst
    match: {origin: inbound}
    value: |
      name: surprise
      typedConfig:
        '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        statPrefix: surprise
        cluster: api
""")
        assert refused.code == 1
        assert "shop/api-1: Listener: " in refused.err
        assert "Didn't find a registered implementation for 'surprise'" in refused.err
        load.run_for(20)

        shop.lab.control_plane.kumactl(
            "apply",
            "--wait",
            "-f",
            "-",
            stdin="type: MeshTimeout\nmesh: shop\nname: quick\nspec:\n  targetRef: {kind: Dataplane, name: web-1}\n"
            "  to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 3s}}}]\n",
        )
        assert "Didn't find" in shop.refusals()[0]["message"], "it still stands on the page"

        shop.unpatch()
        good = shop.patch(LUA)
        assert good.code == 0, good.err
        wait_until(lambda: shop.answer().headers.get("x-lua") == "SAID", "the proxy takes changes again")
        load.run_for(20)
    assert load.failures == [], load.story()
    shop.unpatch()
    shop.lab.control_plane.kumactl("delete", "meshtimeout", "quick", "-m", "shop")


def test_what_envoy_refuses_is_told_in_its_words_and_traffic_goes_on(shop):
    """On the policy's page, in kumactl and in the overview; the repaired patch is taken."""
    good = shop.patch(LUA)
    assert good.code == 0, good.err
    wait_until(lambda: shop.answer().headers.get("x-lua") == "SAID", "the filter runs")

    refused = shop.patch(LUA.replace("function envoy_on_response(handle)", "function ("))

    assert refused.code == 1
    assert "shop/api-1: Listener: " in refused.err
    assert "script load error" in refused.err
    [refusal] = shop.refusals()
    assert refusal["type"] == "Listener"
    assert "script load error" in refusal["message"]
    said = shop.lab.control_plane.kumactl("inspect", "meshproxypatch", "patch", "-m", "shop")
    assert "  api-1\n    keeps its last configuration; refused Listener: " in said

    def overview() -> str:
        return str(shop.lab.control_plane.subscription("api-1", "shop")["status"]["lds"])

    wait_until(lambda: "script load error" in overview(), "the overview has Envoy's words")
    rejection = shop.lab.control_plane.subscription("api-1", "shop")["status"]["lds"]["lastRejection"]
    assert rejection.keys() == {"time", "version", "message"}
    answer = shop.answer()
    assert (answer.status, answer.headers.get("x-lua")) == (200, "SAID"), "the last good configuration serves"

    mended = shop.patch(LUA.replace("SAID", "AGAIN"))
    assert mended.code == 0, mended.err
    wait_until(lambda: shop.answer().headers.get("x-lua") == "AGAIN", "the mended filter runs")
    assert shop.refusals() == []
    shop.unpatch()


def test_a_step_that_cannot_be_done_leaves_the_proxy_as_it_was(shop):
    """The reason names the step; other proxies are not affected; it is over when the policy goes."""
    result = shop.patch("""
- cluster:
    operation: Patch
    match: {origin: inbound}
    jsonPatches:
      - {op: replace, path: /outlierDetection/interval, value: 1s}
""")

    assert result.code == 1
    assert "appendModifications[0].cluster (Patch)" in result.err
    [refusal] = shop.refusals()
    assert (refusal["type"], "appendModifications[0].cluster (Patch)" in refusal["message"]) == ("", True)
    wait_until(
        lambda: "appendModifications[0]" in shop.lab.control_plane.subscription("api-1", "shop")["status"]["problem"],
        "the overview has the reason",
    )
    assert shop.answer().status == 200
    shop.patch(LUA.replace("inbound", "outbound"), of="web-1", name="of-another")
    wait_until(lambda: shop.answer().headers.get("x-lua") == "SAID", "another proxy takes changes")
    shop.unpatch("of-another")
    shop.unpatch()
    wait_until(lambda: "problem" not in shop.lab.control_plane.subscription("api-1", "shop")["status"], "it is over")

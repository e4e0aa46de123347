"""Users patch what Envoy gets; what Envoy refuses is told in its words, and traffic flows on the last good one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.documents import Inbound
from tests.e2e.harness.kumactl import Result
from tests.e2e.harness.lab import Lab
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

    def patch(self, steps: str, *, of: str = "api-1") -> Result:
        """The MeshProxyPatch of one proxy, and what ``kumactl apply --wait`` says of it."""
        lines = "\n".join(f"      {line}" for line in steps.strip("\n").splitlines())
        document = (
            "type: MeshProxyPatch\nmesh: shop\nname: patch\nspec:\n"
            f"  targetRef: {{kind: Dataplane, name: {of}}}\n  default:\n    appendModifications:\n{lines}\n"
        )
        return self.lab.control_plane.kumactl.run("apply", "--wait=20s", "-f", "-", stdin=document)

    def unpatch(self) -> None:
        """Take it away."""
        self.lab.control_plane.kumactl("delete", "meshproxypatch", "patch", "-m", "shop")

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
    answer = shop.answer()
    assert (answer.status, answer.headers.get("x-lua")) == (200, "SAID"), "the last good configuration serves"

    mended = shop.patch(LUA.replace("SAID", "AGAIN"))
    assert mended.code == 0, mended.err
    wait_until(lambda: shop.answer().headers.get("x-lua") == "AGAIN", "the mended filter runs")
    assert shop.refusals() == []
    shop.unpatch()


def test_a_step_that_cannot_be_done_leaves_the_proxy_as_it_was(shop):
    """The reason names the step; other proxies are not affected."""
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
    shop.unpatch()
    wait_until(lambda: "problem" not in shop.lab.control_plane.subscription("api-1", "shop")["status"], "it is over")

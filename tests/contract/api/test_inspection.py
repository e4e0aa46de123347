"""Looking into a proxy: what kumactl inspect asks for."""

import jsonpatch
import pytest

from kuma.core.errors import MeshError
from kuma.core.model.resource import Key
from kuma.cp.reconcile.inspection import Refusal
from tests.contract.api.control_plane import DATAPLANE, TIMEOUT

WEB = "/meshes/default/dataplanes/web-1"


@pytest.fixture
async def web(cp, client):
    """A connected proxy."""
    await client.put(WEB, json=DATAPLANE)
    cp.envoys.connected.add("web-1")


@pytest.mark.parametrize(
    "query, asked, media",
    [
        ("xds", "/config_dump", "application/json"),
        ("xds?include_eds=true", "/config_dump?include_eds", "application/json"),
        ("stats", "/stats?usedonly", "text/plain"),
        ("stats?usedonly=false", "/stats", "text/plain"),
        ("stats?format=json", "/stats?usedonly&format=json", "application/json"),
        ("clusters", "/clusters", "text/plain"),
        ("clusters?format=json", "/clusters?format=json", "application/json"),
    ],
)
async def test_envoys_admin_interface_is_passed_on(cp, client, web, query, asked, media):
    """The media type is ours: a proxy cannot make a browser show a page of its own."""
    answer = await client.get(f"{WEB}/{query}")

    assert answer.status_code == 200
    assert cp.envoys.asked == [("web-1", asked)]
    assert answer.headers["content-type"] == media


async def test_a_proxy_that_is_not_connected_is_400(cp, client, web):
    """The reason is told."""
    cp.envoys.connected.clear()

    answer = await client.get(f"{WEB}/xds")

    assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")
    assert "not connected" in answer.json()["detail"]


@pytest.mark.parametrize("path", [f"{WEB}/nonsense", "/meshes/default/dataplanes/none/xds"])
async def test_what_cannot_be_inspected_is_404(client, web, path):
    """An unknown word, and an unknown proxy."""
    answer = await client.get(path)

    assert (answer.status_code, answer.json()["title"]) == (404, "Could not execute admin operation")


async def test_the_configuration_of_a_proxy(cp, client, web):
    """With shadow policies on request, and the difference as a JSON patch."""
    cp.configs.configs = {("web-1", False): {"a": 1, "b": 2}, ("web-1", True): {"a": 1, "b": 3}}

    plain = (await client.get(f"{WEB}/_config")).json()
    shadow = (await client.get(f"{WEB}/_config?shadow=true&include=diff")).json()

    assert plain == {"xds": {"a": 1, "b": 2}}
    assert shadow["xds"] == {"a": 1, "b": 3}
    assert jsonpatch.apply_patch({"a": 1, "b": 2}, shadow["diff"]) == shadow["xds"]


@pytest.mark.parametrize(
    "impossible, query, title",
    [
        (False, "", "No configuration can be made for the proxy"),
        (False, "?shadow=true&include=diff", "No configuration can be made for the proxy"),
        (True, "?shadow=true", "No configuration can be made for the proxy with shadow policies in force"),
    ],
)
async def test_a_configuration_that_cannot_be_made_says_why(cp, client, web, impossible, query, title):
    """What a policy asks for and cannot have is told to who asks, and which of both configurations it is about."""
    cp.configs.configs = {("web-1", not impossible): {}, ("web-1", impossible): MeshError("nothing at /a/b")}

    answer = await client.get(f"{WEB}/_config{query}")

    assert (answer.status_code, answer.json()["title"]) == (400, title)
    assert answer.json()["detail"] == "nothing at /a/b"


async def test_a_proxy_that_never_connected_has_no_configuration(client, web):
    """404, as for a missing proxy."""
    assert (await client.get(f"{WEB}/_config")).status_code == 404


@pytest.mark.parametrize("query", ["shadow=maybe", "include=everything"])
async def test_unknown_options_are_refused(client, web, query):
    """Not silently ignored."""
    assert (await client.get(f"{WEB}/_config?{query}")).status_code == 400


async def test_the_policies_of_a_proxy(client, web):
    """Every kind that selects the proxy, gateway-only policies left out."""
    await client.put("/meshes/default/meshtimeouts/short", json=TIMEOUT)

    body = (await client.get(f"{WEB}/policies")).json()

    assert (body["kind"], body["total"]) == ("SidecarDataplane", 1)
    item = body["items"][0]
    assert (item["type"], item["name"], item["service"]) == ("dataplane", "", "")
    names = {kind: [policy["name"] for policy in policies] for kind, policies in item["matchedPolicies"].items()}
    assert names == {
        "MeshTimeout": ["mesh-timeout-all-default", "short"],
        "MeshCircuitBreaker": ["mesh-circuit-breaker-all-default"],
        "MeshRetry": ["mesh-retry-all-default"],
    }


async def test_the_rules_of_a_proxy_show_what_is_merged(client, web):
    """Each rule with its conf and the policies it came from."""
    for_db = {
        **TIMEOUT,
        "name": "a-short",  # of two equally specific policies the smaller name wins
        "spec": {"to": [{"targetRef": {"kind": "MeshService", "name": "db"}, "default": {"idleTimeout": "10s"}}]},
    }
    assert (await client.put("/meshes/default/meshtimeouts/a-short", json=for_db)).status_code == 201

    body = (await client.get(f"{WEB}/_rules")).json()

    assert (body["resource"]["name"], body["httpMatches"]) == ("web-1", [])
    timeout = next(rule for rule in body["rules"] if rule["type"] == "MeshTimeout")
    db, others = timeout["toRules"]
    assert db["matchers"] == [{"key": "kuma.io/service", "not": False, "value": "db"}]
    assert db["conf"]["idleTimeout"] == "10s"
    assert {origin["name"] for origin in db["origin"]} == {"mesh-timeout-all-default", "a-short"}
    assert others["matchers"] == [{"key": "kuma.io/service", "not": True, "value": "db"}]
    assert others["conf"]["idleTimeout"] == "1h0m0s"
    inbound = timeout["inboundRules"][0]
    assert inbound["inbound"]["port"] == 8080
    assert inbound["rules"][0]["conf"][0]["connectionTimeout"] == "10s"


async def test_permissions_are_told_by_source(client, web):
    """Entries of ``from`` become disjoint groups of sources."""
    permission = {
        "type": "MeshTrafficPermission",
        "mesh": "default",
        "name": "allow-db",
        "spec": {
            "from": [
                {"targetRef": {"kind": "MeshSubset", "tags": {"team": "a"}}, "default": {"action": "Allow"}},
            ]
        },
    }
    assert (await client.put("/meshes/default/meshtrafficpermissions/allow-db", json=permission)).status_code == 201

    rules = (await client.get(f"{WEB}/_rules")).json()["rules"]
    legacy = (await client.get(f"{WEB}/rules")).json()

    found = next(rule for rule in rules if rule["type"] == "MeshTrafficPermission")
    assert found["fromRules"][0]["rules"][0]["matchers"] == [{"key": "team", "not": False, "value": "a"}]
    assert found["fromRules"][0]["rules"][0]["conf"] == {"action": "Allow"}
    item = next(item for item in legacy["items"] if item["policyType"] == "MeshTrafficPermission")
    assert (item["type"], item["name"], item["service"]) == ("ClientSubset", "10.0.0.1:8080", "web")
    assert (item["subset"], item["origins"]) == ({"team": "a"}, [{"mesh": "default", "name": "allow-db"}])


async def test_the_proxies_of_a_policy(client, web):
    """Both the new and the old endpoint; the link to the next page is left out where there is none."""
    other = {**DATAPLANE, "name": "web-2"}
    await client.put("/meshes/default/dataplanes/web-2", json=other)
    path = "/meshes/default/meshtimeouts/mesh-timeout-all-default"

    every = (await client.get(f"{path}/_resources/dataplanes")).json()
    paged = (await client.get(f"{path}/_resources/dataplanes?size=1")).json()
    none = (
        await client.get("/meshes/default/meshtimeouts/mesh-gateways-timeout-all-default/_resources/dataplanes")
    ).json()
    old = (await client.get(f"{path}/dataplanes")).json()

    assert [item["name"] for item in every["items"]] == ["web-1", "web-2"]
    assert list(every["items"][0]) == ["labels", "mesh", "name", "type"]
    assert "next" not in every
    assert paged["next"].endswith("/_resources/dataplanes?offset=1&size=1")
    assert none == {"total": 0, "items": []}
    assert [item["dataplane"]["name"] for item in old["items"]] == ["web-1", "web-2"]


async def test_every_value_names_the_policy_it_came_from(client, web):
    """Who set this timeout? The rule answers with the identifier of the policy, for each value of its own."""
    await client.put("/meshes/default/meshtimeouts/short", json=TIMEOUT)

    body = (await client.get(f"{WEB}/_rules")).json()

    timeout = next(rule for rule in body["rules"] if rule["type"] == "MeshTimeout")
    [everywhere] = timeout["toRules"]
    assert everywhere["conf"]["idleTimeout"] == "1h0m0s", "of two equally specific policies the smaller name wins"
    assert everywhere["sources"]["idleTimeout"] == ["kri_mt_default_default__mesh-timeout-all-default_"]
    inbound = timeout["inboundRules"][0]["rules"][0]
    assert inbound["sources"]["http.streamIdleTimeout"] == ["kri_mt_default_default__mesh-timeout-all-default_"]


ROUTE = {
    "type": "MeshHTTPRoute",
    "mesh": "default",
    "name": "to-db",
    "spec": {
        "to": [
            {
                "targetRef": {"kind": "MeshService", "name": "db"},
                "rules": [
                    {"matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}], "default": {}},
                    {"matches": [{"path": {"type": "Exact", "value": "/v2"}}], "default": {}},
                ],
            }
        ]
    },
}
ON_ROUTE_DEFAULT = {"http": {"requestTimeout": "3s"}}
ON_ROUTE = {
    "type": "MeshTimeout",
    "mesh": "default",
    "name": "a-on-route",
    "spec": {
        "to": [{"targetRef": {"kind": "MeshHTTPRoute", "name": "to-db"}, "default": ON_ROUTE_DEFAULT}],
    },
}
PATCH = {
    "type": "MeshProxyPatch",
    "mesh": "default",
    "name": "patch",
    "spec": {"default": {"appendModifications": [{"cluster": {"operation": "Remove", "match": {"name": "none"}}}]}},
}


@pytest.fixture
async def routed(client, web):
    """A proxy with routes, a timeout on them and a patch, in a mesh whose services are addressed by identifiers."""
    mesh = {"type": "Mesh", "name": "default", "meshServices": {"mode": "Exclusive"}}
    for path, document in (
        ("/meshes/default", mesh),
        ("/meshes/default/meshhttproutes/to-db", ROUTE),
        ("/meshes/default/meshtimeouts/a-on-route", ON_ROUTE),
        ("/meshes/default/meshproxypatches/patch", PATCH),
    ):
        answer = await client.put(path, json=document)
        assert answer.status_code in (200, 201), answer.text


async def test_rules_on_routes_name_the_route(client, routed):
    """A route is called by the hash of its matches, and the hash is explained."""
    body = (await client.get(f"{WEB}/_rules")).json()

    hashes = {one["hash"]: one["match"] for one in body["httpMatches"]}
    assert [{"path": {"value": "/v1", "type": "PathPrefix"}}] in hashes.values()
    timeout = next(rule for rule in body["rules"] if rule["type"] == "MeshTimeout")
    on_routes = [
        rule for rule in timeout["toRules"] if "__rule-matches-hash__" in {one["key"] for one in rule["matchers"]}
    ]
    assert {rule["matchers"][-1]["value"] for rule in on_routes} == hashes.keys()
    assert all(rule["conf"]["http"]["requestTimeout"] == "3s" for rule in on_routes)
    legacy = (await client.get(f"{WEB}/rules")).json()["items"]
    patch = next(rule for rule in body["rules"] if rule["type"] == "MeshProxyPatch")
    assert patch["proxyRule"]["conf"] == PATCH["spec"]["default"]
    assert patch["proxyRule"]["origin"][0]["name"] == "patch"
    item = next(item for item in legacy if item["policyType"] == "MeshProxyPatch")
    assert (item["type"], item["conf"], item["subset"]) == ("SingleItem", PATCH["spec"]["default"], {})
    assert item["origins"] == [{"mesh": "default", "name": "patch"}]


async def test_what_holds_is_found_from_the_layout_down(client, routed):
    """The layout names inbounds and outbounds, these their policies and routes, and routes theirs."""
    layout = (await client.get(f"{WEB}/_layout")).json()
    [inbound], [outbound] = layout["inbounds"], layout["outbounds"]
    assert (inbound["kri"], inbound["port"], inbound["protocol"]) == (
        "kri_dp_default_default__web-1_8080",
        8080,
        "http",
    )
    assert (outbound["kri"], outbound["proxyResourceName"]) == ("kri_msvc_default_default__db_9000", "db")

    whole = (await client.get(f"{WEB}/_policies")).json()["policies"]
    received = (await client.get(f"{WEB}/_inbounds/{inbound['kri']}/_policies")).json()["policies"]
    sent = (await client.get(f"{WEB}/_outbounds/{outbound['kri']}/_policies")).json()["policies"]
    [routes] = (await client.get(f"{WEB}/_outbounds/{outbound['kri']}/_routes")).json()["routes"]

    assert [(one["kind"], one["conf"]) for one in whole] == [("MeshProxyPatch", PATCH["spec"]["default"])]
    timeout = next(one for one in received if one["kind"] == "MeshTimeout")
    assert timeout["rules"][0]["conf"]["connectionTimeout"] == "10s"
    assert timeout["rules"][0]["kri"] == "kri_mt_default_default__mesh-timeout-all-default_"
    assert {one["kind"] for one in sent} == {"MeshTimeout", "MeshCircuitBreaker", "MeshRetry"}
    assert (routes["kind"], len(routes["rules"])) == ("MeshHTTPRoute", 2)
    first = routes["rules"][0]
    assert first["matches"] == ROUTE["spec"]["to"][0]["rules"][0]["matches"]

    on_route = (await client.get(f"{WEB}/_outbounds/{outbound['kri']}/_routes/{first['kri']}/_policies")).json()
    timeout = next(one for one in on_route["policies"] if one["kind"] == "MeshTimeout")
    assert timeout["conf"]["http"]["requestTimeout"] == "3s"
    assert timeout["sources"]["http.requestTimeout"] == ["kri_mt_default_default__a-on-route_"]


@pytest.mark.parametrize("path", ["_layout", "_policies", "_inbounds/kri_dp_default_default__web-1_8080/_policies"])
async def test_identifiers_need_mesh_services(client, web, path):
    """As in Kuma 400, with what to do about it."""
    answer = await client.get(f"{WEB}/{path}")

    assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")
    assert "without meshService enabled" in answer.json()["detail"]


OUTBOUND = "kri_msvc_default_default__db_9000"


@pytest.mark.parametrize(
    "path, told",
    [
        (
            "_inbounds/kri_dp_default_default__web-1_9999/_policies",
            "the proxy has no inbound kri_dp_default_default__web-1_9999; it has kri_dp_default_default__web-1_8080",
        ),
        ("_inbounds/kri_dp_default_default__other_8080/_policies", "it has kri_dp_default_default__web-1_8080"),
        ("_inbounds/kri_dp_other_default__web-1_8080/_policies", "it has kri_dp_default_default__web-1_8080"),
        ("_outbounds/kri_msvc_default_default__none_80/_policies", f"it has {OUTBOUND}"),
        ("_outbounds/kri_msvc_default_default__db_1/_policies", f"it has {OUTBOUND}"),
        ("_outbounds/kri_msvc_other_default__db_9000/_policies", f"it has {OUTBOUND}"),
        ("_outbounds/kri_msvc_default_elsewhere__db_9000/_routes", f"it has {OUTBOUND}"),
        (f"_outbounds/{OUTBOUND}/_routes/kri_mhttpr_default_default__none_rule_0/_policies", "_routes lists them"),
        ("nonsense", "there are xds, stats and clusters"),
    ],
)
async def test_what_a_proxy_does_not_have_is_said(client, routed, path, told):
    """And what it has instead. An identifier is compared whole: mesh, zone, name and port."""
    answer = await client.get(f"{WEB}/{path}")

    assert answer.status_code == 404, answer.text
    assert told in answer.json()["detail"]


@pytest.mark.parametrize("path", ["_inbounds/nonsense/_policies", "_outbounds/kri_msvc/_routes"])
async def test_what_is_no_identifier_is_refused(client, routed, path):
    """With what an identifier looks like."""
    answer = await client.get(f"{WEB}/{path}")

    assert answer.status_code == 400, answer.text
    assert "kri_<kind>_<mesh>_<zone>_<namespace>_<name>_<section>" in answer.json()["detail"]


async def test_the_layout_says_what_the_other_side_speaks(client, routed):
    """As the caller is configured to speak to it: instances that differ have only connections in common."""
    protocols = []
    for name, protocol in (("db-1", "grpc"), ("db-2", "grpc"), ("db-3", "http")):
        inbound = {"port": 5432, "tags": {"kuma.io/service": "db", "kuma.io/protocol": protocol}}
        networking = {"address": f"10.0.1.{name[-1]}", "inbound": [inbound]}
        document = {"type": "Dataplane", "mesh": "default", "name": name, "networking": networking}
        protocols.append((await client.get(f"{WEB}/_layout")).json()["outbounds"][0]["protocol"])
        assert (await client.put(f"/meshes/default/dataplanes/{name}", json=document)).status_code == 201
    protocols.append((await client.get(f"{WEB}/_layout")).json()["outbounds"][0]["protocol"])

    assert protocols == ["tcp", "grpc", "grpc", "tcp"]


async def test_a_policy_shows_who_refuses_it(cp, client, web):
    """On the policy's page: the proxies it selects, and what those say that keep their last configuration."""
    await client.put("/meshes/default/meshproxypatches/patch", json=PATCH)
    cp.configs.refused = {"web-1": (Refusal("Listener", "Didn't find a registered implementation for 'luaa'"),)}

    new = (await client.get("/meshes/default/meshproxypatches/patch/_resources/dataplanes")).json()
    old = (await client.get("/meshes/default/meshproxypatches/patch/dataplanes")).json()

    expected = [{"type": "Listener", "message": "Didn't find a registered implementation for 'luaa'"}]
    assert new["items"][0]["refusals"] == expected
    assert old["items"][0]["refusals"] == expected


async def test_only_the_policy_that_cannot_be_applied_shows_why(cp, client, web):
    """The pages of all others that select the proxy say which policy to look at."""
    await client.put("/meshes/default/meshproxypatches/patch", json=PATCH)
    blamed = (Key("MeshProxyPatch", "default", "patch"),)
    cp.configs.refused = {"web-1": (Refusal("", "no such path", blamed),)}

    told = []
    for policy in ("meshproxypatches/patch", "meshtimeouts/mesh-timeout-all-default"):
        for endpoint in ("_resources/dataplanes", "dataplanes"):
            body = (await client.get(f"/meshes/default/{policy}/{endpoint}")).json()
            told.append(body["items"][0]["refusals"])

    elsewhere = 'what another policy asks for cannot be done: see MeshProxyPatch "patch"'
    assert told == [[{"type": "", "message": text}] for text in ("no such path", "no such path", elsewhere, elsewhere)]


async def test_a_policy_for_a_route_selects_the_proxies_of_the_route(client, web):
    """The route's own targetRef decides."""
    for_others = {**ROUTE, "name": "other", "spec": {**ROUTE["spec"], "targetRef": {"kind": "Dataplane", "name": "x"}}}
    await client.put("/meshes/default/meshhttproutes/to-db", json=ROUTE)
    await client.put("/meshes/default/meshhttproutes/other", json=for_others)
    for name, route in (("mine", "to-db"), ("theirs", "other")):
        spec = {
            "targetRef": {"kind": "MeshHTTPRoute", "name": route},
            "to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"requestTimeout": "1s"}}}],
        }
        document = {"type": "MeshTimeout", "mesh": "default", "name": name, "spec": spec}
        assert (await client.put(f"/meshes/default/meshtimeouts/{name}", json=document)).status_code == 201

    mine = (await client.get("/meshes/default/meshtimeouts/mine/_resources/dataplanes")).json()
    theirs = (await client.get("/meshes/default/meshtimeouts/theirs/_resources/dataplanes")).json()

    assert (mine["total"], theirs["total"]) == (1, 0)


async def test_a_policy_for_routes_by_labels_holds_on_them(client, routed):
    """As by name: on the routes that have the labels, from the moment they have them, and without a warning."""
    entry = {"targetRef": {"kind": "MeshHTTPRoute", "labels": {"team": "shop"}}, "default": ON_ROUTE_DEFAULT}
    document = {"type": "MeshTimeout", "mesh": "default", "name": "a-labelled", "spec": {"to": [entry]}}
    await client.delete("/meshes/default/meshtimeouts/a-on-route")
    answer = await client.put("/meshes/default/meshtimeouts/a-labelled", json=document)
    assert (answer.status_code, answer.json().get("warnings")) == (201, None)

    async def on_routes():
        rules = (await client.get(f"{WEB}/_rules")).json()["rules"]
        confs = next(rule["toRules"] for rule in rules if rule["type"] == "MeshTimeout")
        return [one["conf"]["http"]["requestTimeout"] for one in confs if len(one["matchers"]) == 2]

    before = await on_routes()
    await client.put("/meshes/default/meshhttproutes/to-db", json={**ROUTE, "labels": {"team": "shop"}})

    assert (before, await on_routes()) == ([], ["3s", "3s"])


async def test_an_effect_that_is_not_known_is_warned_of(client):
    """A policy on trial that is in force because of a capital letter would be noticed too late."""
    spelt, right = {**TIMEOUT, "labels": {"kuma.io/effect": "Shadow"}}, {"kuma.io/effect": "shadow"}
    path = "/meshes/default/meshtimeouts/short"

    warned = (await client.put(path, json=spelt)).json()
    silent = (await client.put(path, json={**TIMEOUT, "labels": right})).json()

    assert warned["warnings"] == [
        'label kuma.io/effect: only "shadow" has a meaning; with "Shadow" the policy is in force'
    ]
    assert "warnings" not in silent

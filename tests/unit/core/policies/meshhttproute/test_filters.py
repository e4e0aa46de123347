import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.policies._kit.backends import shares
from kuma.core.policies.meshhttproute.filters import envoy_routes
from kuma.core.policies.meshhttproute.matching import Entry, entries
from kuma.core.policies.meshhttproute.spec import Match, MeshHTTPRoute, RuleConf
from kuma.core.policies.meshhttproute.validate import validate
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import HeaderValueOption
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import RedirectAction
from kuma.envoy_api.envoy.type.v3.percent_pb2 import FractionalPercent

OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
APPEND = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
EXACT = {"path": {"type": "Exact", "value": "/v1"}}
PREFIX = {"path": {"type": "PathPrefix", "value": "/v1"}}
ROOT = {"path": {"type": "PathPrefix", "value": "/"}}
BACKEND = {"kind": "MeshService", "name": "web-v2"}
MODIFIER = {"set": [{"name": "a", "value": "1,2"}], "add": [{"name": "b", "value": "3,4"}], "remove": ["c"]}


def _cluster_of(ref):
    return None if ref.name == "nowhere" else f"to-{ref.name}"


def _routes(*filters, match=EXACT, backends=(BACKEND,)):
    conf = RuleConf.model_validate_json(json.dumps({"filters": filters, "backendRefs": backends}))
    entry = Entry(Match.model_validate_json(json.dumps(match)), "name", conf)
    return envoy_routes(entry, shares(conf.backend_refs, _cluster_of), _cluster_of)


def _route(*filters, **options):
    [route] = _routes(*filters, **options)
    return route


def _rewrite(kind, field, **fields):
    return {"type": kind, field: fields}


def _full(path):
    return {"type": "ReplaceFullPath", "replaceFullPath": path}


def _part(path):
    return {"type": "ReplacePrefixMatch", "replacePrefixMatch": path}


def test_requests_go_to_the_only_backend():
    """One backend is the route's cluster; the route has its rule's name, and no timeout of Envoy's own."""
    route = _route()

    assert (route.name, route.match.path, route.route.cluster) == ("name", "/v1", "to-web-v2")
    assert route.route.HasField("timeout")
    assert route.route.timeout.seconds == 0
    assert not route.route.HasField("auto_host_rewrite")


def test_requests_are_shared_by_weight():
    """Backends without weight and those that lead nowhere are left out."""
    route = _route(
        backends=[
            {**BACKEND, "weight": 90},
            {"kind": "MeshService", "name": "off", "weight": 0},
            {"kind": "MeshService", "name": "nowhere", "weight": 5},
            {"kind": "MeshService", "name": "web-v3", "weight": 10},
        ]
    )
    found = [(share.name, share.weight.value) for share in route.route.weighted_clusters.clusters]

    assert found == [("to-web-v2", 90), ("to-web-v3", 10)]


def test_a_backend_outside_is_asked_by_its_own_name():
    """The host header is that of the destination outside of the mesh."""
    route = _route(backends=[BACKEND, {"kind": "MeshExternalService", "name": "out"}])

    assert route.route.auto_host_rewrite.value


@pytest.mark.parametrize("backends", [[], [{**BACKEND, "weight": 0}], [{"kind": "MeshService", "name": "nowhere"}]])
def test_a_rule_that_leads_nowhere_has_no_route(backends):
    """Its requests are taken by the next rule, unless it redirects them."""
    assert _routes(match=PREFIX, backends=backends) == []
    assert _routes(_rewrite("RequestRedirect", "requestRedirect"), match=EXACT, backends=backends)


def test_headers_are_changed_on_the_way_there_and_back():
    """What is set replaces, further values and what is added join, what is removed goes."""
    route = _route(
        {"type": "RequestHeaderModifier", "requestHeaderModifier": MODIFIER},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": MODIFIER},
    )
    expected = [("a", "1", OVERWRITE), ("a", "2", APPEND), ("b", "3", APPEND), ("b", "4", APPEND)]

    for added in (route.request_headers_to_add, route.response_headers_to_add):
        assert [(one.header.key, one.header.value, one.append_action) for one in added] == expected
    assert (list(route.request_headers_to_remove), list(route.response_headers_to_remove)) == (["c"], ["c"])


def test_a_redirect_answers_the_client():
    """Scheme, host, port and status are as asked for; what stands beside it has no effect, headers apart."""
    route = _route(
        {"type": "RequestMirror", "requestMirror": {"backendRef": BACKEND}},
        _rewrite("RequestRedirect", "requestRedirect", scheme="https", hostname="a.example.com", port=8443),
        _rewrite("URLRewrite", "urlRewrite", hostname="b.example.com", path=_full("/x")),
        {"type": "RequestMirror", "requestMirror": {"backendRef": BACKEND}},
    )

    assert route.WhichOneof("action") == "redirect"
    assert (route.redirect.scheme_redirect, route.redirect.host_redirect) == ("https", "a.example.com")
    assert (route.redirect.port_redirect, route.redirect.response_code) == (8443, RedirectAction.FOUND)
    assert not route.redirect.WhichOneof("path_rewrite_specifier")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, RedirectAction.MOVED_PERMANENTLY),
        (302, RedirectAction.FOUND),
        (303, RedirectAction.SEE_OTHER),
        (307, RedirectAction.TEMPORARY_REDIRECT),
        (308, RedirectAction.PERMANENT_REDIRECT),
    ],
)
def test_a_redirect_has_the_status_asked_for(status, code):
    """Every status of the schema is one of Envoy's."""
    assert _route(_rewrite("RequestRedirect", "requestRedirect", statusCode=status)).redirect.response_code == code


@pytest.mark.parametrize(("kind", "field"), [("RequestRedirect", "requestRedirect"), ("URLRewrite", "urlRewrite")])
def test_the_whole_path_is_replaced(kind, field):
    """Whatever the path was; characters that mean something to expressions stand for themselves."""
    for route in _routes(_rewrite(kind, field, path=_full("/a\\1")), match=PREFIX):
        written = route.redirect if kind == "RequestRedirect" else route.route
        assert (written.regex_rewrite.pattern.regex, written.regex_rewrite.substitution) == (".*", "/a\\\\1")


@pytest.mark.parametrize(("kind", "field"), [("RequestRedirect", "requestRedirect"), ("URLRewrite", "urlRewrite")])
@pytest.mark.parametrize(("new", "alone", "before"), [("/v2", "/v2", "/v2/"), ("/", "/", "/"), ("", "/", "/")])
def test_a_prefix_is_replaced(kind, field, new, alone, before):
    """`/v1` becomes `/v2`, and `/v1/a` becomes `/v2/a`, not `/v2a`."""
    found = _routes(_rewrite(kind, field, path=_part(new)), match=PREFIX)
    whole, part = (route.redirect if kind == "RequestRedirect" else route.route for route in found)
    [root] = _routes(_rewrite(kind, field, path=_part(new)), match=ROOT)
    written = root.redirect if kind == "RequestRedirect" else root.route

    assert whole.regex_rewrite.substitution == alone
    assert not whole.prefix_rewrite
    assert part.prefix_rewrite == written.prefix_rewrite == before
    assert not part.HasField("regex_rewrite")


def test_of_two_rewrites_the_last_counts():
    """Envoy takes one rewrite of a path only."""
    full, part = (_rewrite("URLRewrite", "urlRewrite", path=path) for path in (_full("/x"), _part("/y")))
    both, turned = _route(full, part, match=ROOT).route, _route(part, full, match=ROOT).route

    assert (both.prefix_rewrite, both.HasField("regex_rewrite")) == ("/y/", False)
    assert (turned.prefix_rewrite, turned.HasField("regex_rewrite")) == ("", True)


def test_the_host_is_rewritten():
    """To a given name, or to that of the backend."""
    named = _route(_rewrite("URLRewrite", "urlRewrite", hostname="a.example.com")).route
    of_backend = _route(_rewrite("URLRewrite", "urlRewrite", hostToBackendHostname=True)).route

    assert named.host_rewrite_literal == "a.example.com"
    assert of_backend.auto_host_rewrite.value


@pytest.mark.parametrize(
    ("percentage", "numerator", "denominator"),
    [
        (5, 5, FractionalPercent.HUNDRED),
        ("12.50", 1250, FractionalPercent.TEN_THOUSAND),
        ("0.1234", 1234, FractionalPercent.MILLION),
        ("99.99999", 999999, FractionalPercent.MILLION),
    ],
)
def test_a_share_of_the_requests_is_copied(percentage, numerator, denominator):
    """The percentage is kept as exactly as Envoy can."""
    mirror = {"type": "RequestMirror", "requestMirror": {"percentage": percentage, "backendRef": BACKEND}}
    [found] = _route(mirror).route.request_mirror_policies
    fraction = found.runtime_fraction.default_value

    assert (found.cluster, fraction.numerator, fraction.denominator) == ("to-web-v2", numerator, denominator)


def test_every_request_is_copied_when_nothing_else_is_said():
    """To each mirror that leads somewhere."""
    somewhere = {"type": "RequestMirror", "requestMirror": {"backendRef": BACKEND}}
    nowhere = {"type": "RequestMirror", "requestMirror": {"backendRef": {"kind": "MeshService", "name": "nowhere"}}}
    [found] = _route(somewhere, nowhere).route.request_mirror_policies

    assert not found.HasField("runtime_fraction")


HEADERS = [
    {"name": "a", "value": "1"},
    {"name": "b", "type": "Present"},
    {"name": "c", "type": "Absent"},
    {"name": "d", "type": "Prefix"},
    {"name": "e", "type": "RegularExpression", "value": "x.*"},
]
QUERIES = [{"name": "q", "type": "Exact", "value": ""}, {"name": "r", "type": "RegularExpression", "value": "x"}]
FILTERS = [
    {"type": "RequestHeaderModifier", "requestHeaderModifier": {**MODIFIER, "remove": ["C"]}},
    {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "a", "value": "%PROTOCOL%,9%%"}]}},
    _rewrite("RequestRedirect", "requestRedirect", path=_part("/x"), hostname="a.example.com", port=1),
    _rewrite("RequestRedirect", "requestRedirect", path=_full("\\9 \\q"), scheme="http"),
    _rewrite("URLRewrite", "urlRewrite", path=_part("x y?")),
    _rewrite("URLRewrite", "urlRewrite", path=_full(""), hostname="a.example.com"),
    {"type": "RequestMirror", "requestMirror": {"percentage": "0.00001", "backendRef": BACKEND}},
    {"type": "RequestMirror", "requestMirror": {"backendRef": {**BACKEND, "name": "web-v3"}}},
]
PATHS = [
    {"type": "PathPrefix", "value": "/"},
    {"type": "PathPrefix", "value": "/a b?"},
    {"type": "Exact", "value": "/%00\\"},
    {"type": "RegularExpression", "value": "/[a-z]+|é"},
]
BACKENDS = [{**BACKEND, "name": f"web-v{number}", "weight": weight} for number, weight in enumerate([0, 1, 2**31 - 1])]


def _rules(data):
    matches = st.fixed_dictionaries(
        {},
        optional={
            "path": st.sampled_from(PATHS),
            "method": st.sampled_from(["GET", "CONNECT"]),
            "headers": st.lists(st.sampled_from(HEADERS)),
            "queryParams": st.lists(st.sampled_from(QUERIES), unique_by=lambda query: query["name"]),
        },
    )
    conf = st.fixed_dictionaries(
        {},
        optional={
            "filters": st.lists(st.sampled_from(FILTERS), max_size=5),
            "backendRefs": st.lists(st.sampled_from(BACKENDS), max_size=3, unique_by=lambda ref: ref["name"]),
        },
    )
    rule = st.fixed_dictionaries({"matches": st.lists(matches, min_size=1, max_size=3), "default": conf})
    to = {"targetRef": {"kind": "MeshService", "name": "web"}, "rules": data.draw(st.lists(rule, max_size=3))}
    return MeshHTTPRoute.model_validate_json(json.dumps({"to": [to]}))


def _all_routes(rules):
    own = RuleConf.model_validate({"backend_refs": ({"kind": "MeshService", "name": "web"},)}).backend_refs
    for entry in entries(rules):
        refs = own if entry.conf.backend_refs is None else entry.conf.backend_refs
        yield from envoy_routes(entry, shares(refs, _cluster_of), _cluster_of)


@given(data=st.data())
def test_a_valid_policy_always_becomes_routes(data):
    """What was accepted never fails later, and every route has a match and an action."""
    spec = _rules(data)
    if list(validate(spec)):
        return

    for route in _all_routes(spec.to[0].default.rules):
        assert route.match.WhichOneof("path_specifier")
        assert route.WhichOneof("action")
        assert not (route.route.prefix_rewrite and route.route.HasField("regex_rewrite"))
        assert route.SerializeToString(deterministic=True)


def test_envoy_accepts_every_match_and_filter(drafts, envoy):
    """Each way to match with each way to change, alone and together."""
    rules = [
        {"matches": [{"path": path, "headers": HEADERS, "queryParams": QUERIES, "method": "GET"}], "default": default}
        for path in PATHS
        for default in (
            *(
                {"filters": [one]}
                for one in FILTERS
                if "Prefix" in path["type"] or "replacePrefixMatch" not in str(one)
            ),
            {"backendRefs": BACKENDS},
        )
    ]
    rules += [
        {"matches": [{"path": PATHS[1]}], "default": {"filters": FILTERS[::-1], "backendRefs": BACKENDS}},
        {"matches": [{}], "default": {"filters": [FILTERS[4], FILTERS[5], *FILTERS[:2]]}},
    ]
    to = {"targetRef": {"kind": "MeshService", "name": "web"}, "rules": rules}
    spec = MeshHTTPRoute.model_validate_json(json.dumps({"to": [to]}))
    draft = drafts.outbound(service="to-web")
    draft.clusters.extend(drafts.outbound(service=name).clusters[0] for name in ("to-web-v1", "to-web-v2", "to-web-v3"))
    [host] = draft.chain.http.route_config.virtual_hosts
    del host.routes[:]
    host.routes.extend(_all_routes(spec.to[0].default.rules))

    assert [found.reason for found in validate(spec)] == ["can only appear if all matches match a path prefix"]
    assert envoy.accepts(draft)

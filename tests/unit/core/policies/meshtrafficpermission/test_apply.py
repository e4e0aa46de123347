from kuma.core.model.resource import Key
from kuma.core.policies._kit.rules import InboundRule, InboundRules, Merged, SubsetRule, TagMatch
from kuma.core.policies.meshtrafficpermission.apply import HTTP_RBAC, NETWORK_RBAC, inbound
from kuma.core.policies.meshtrafficpermission.spec import Conf, Permissions
from kuma.core.xds.view import TlsMode
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter
from kuma.envoy_api.envoy.config.rbac.v3.rbac_pb2 import RBAC, Action, Principal
from kuma.envoy_api.envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from kuma.envoy_api.envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac

KEY = Key("MeshTrafficPermission", "default", "mine")
KRI = "kri_mtp_default_default__mine_"


def _subset(action, *tags):
    return SubsetRule(tuple(tags), Merged(Conf(action=action), (KEY,)))


def _rule(permissions, kri=KRI):
    return InboundRule(None, Permissions.model_validate_json(permissions), KEY, kri)


def _spiffe(value, kind="Exact"):
    return f'{{"spiffeID": {{"type": "{kind}", "value": "{value}"}}}}'


def _http(chain):
    assert chain.http_filters[0].name == HTTP_RBAC
    config = http_rbac.RBAC()
    chain.http_filters[0].typed_config.Unpack(config)
    return config


def _network(chain):
    assert chain.network_filters[0].name == NETWORK_RBAC
    config = network_rbac.RBAC()
    chain.network_filters[0].typed_config.Unpack(config)
    return config


def _action(on_match):
    made = Action()
    on_match.action.typed_config.Unpack(made)
    return made.name, made.action


def _exact(uri):
    principal = Principal()
    principal.authenticated.principal_name.exact = uri
    return principal


def _guarded(drafts, rules, protocol="http"):
    draft = drafts.inbound(protocol, TlsMode.STRICT)
    inbound(draft, rules)
    return draft


def test_without_any_permission_nobody_may_call(drafts):
    """Mutual TLS and no policy: an RBAC filter that allows nobody, over HTTP and over TCP."""
    over_http = _http(_guarded(drafts, InboundRules()).chains[0])
    over_tcp = _network(_guarded(drafts, InboundRules(), "tcp").chains[0])

    for config in (over_http, over_tcp):
        assert config.HasField("rules")
        assert config.rules == RBAC()
        assert not config.HasField("matcher")


def test_plaintext_is_not_guarded(drafts):
    """Without certificates there is nobody to tell apart: no RBAC filter."""
    off, mixed = drafts.inbound("http"), drafts.inbound("http", TlsMode.PERMISSIVE)
    inbound(off, InboundRules())
    inbound(mixed, InboundRules())

    assert not off.chains[0].http_filters
    assert not mixed.chains[0].http_filters
    assert _http(mixed.chains[1]).rules == RBAC()


def test_allowed_tags_become_uris_of_the_certificate(drafts):
    """A service is known by its SPIFFE id, any other tag by its own URI; all tags of a group must hold."""
    rules = InboundRules(
        subsets=(
            _subset("Allow", TagMatch("kuma.io/service", "web"), TagMatch("version", "v2", negated=True)),
            _subset("Allow", TagMatch("team", "a")),
            _subset("Deny", TagMatch("team", "b")),
        )
    )
    config = _http(_guarded(drafts, rules).chains[0])

    [policy] = config.rules.policies.values()
    both, one = policy.principals
    assert list(config.rules.policies) == ["MeshTrafficPermission"]
    assert list(both.and_ids.ids) == [_exact("spiffe://default/web"), Principal(not_id=_exact("kuma://version/v2"))]
    assert one == _exact("kuma://team/a")
    assert not config.HasField("shadow_rules")


def test_allowing_the_mesh_allows_everybody_with_a_certificate(drafts):
    """A `from` entry for the whole mesh is the principal "any"."""
    config = _network(_guarded(drafts, InboundRules(subsets=(_subset("Allow"),)), "tcp").chains[0])

    assert list(config.rules.policies["MeshTrafficPermission"].principals) == [Principal(any=True)]
    assert config.stat_prefix.startswith("inbound_127_0_0_1_")
    assert config.stat_prefix.endswith(".")


def test_a_star_stands_for_any_value_of_a_tag(drafts):
    """Tag values of a MeshServiceSubset may be `*`."""
    rules = InboundRules(subsets=(_subset("Allow", TagMatch("version", "*")),))
    [principal] = _http(_guarded(drafts, rules).chains[0]).rules.policies["MeshTrafficPermission"].principals

    assert principal.authenticated.principal_name.prefix == "kuma://version/"


def test_shadow_denial_allows_and_counts(drafts):
    """AllowWithShadowDeny lets the call through and writes a shadow rule that denies it."""
    rules = InboundRules(subsets=(_subset("AllowWithShadowDeny", TagMatch("kuma.io/service", "web")),))
    config = _http(_guarded(drafts, rules).chains[0])

    assert config.shadow_rules.action == RBAC.DENY
    assert config.shadow_rules.policies == config.rules.policies
    assert list(config.rules.policies["MeshTrafficPermission"].principals) == [_exact("spiffe://default/web")]


def test_rules_deny_first_then_allow_then_deny_the_rest(drafts):
    """Denials of all policies are tried before any allowance; each decision carries its policy's name."""
    first = _rule(f'{{"allow": [{_spiffe("spiffe://default/a", "Prefix")}]}}', "kri_one")
    second = _rule(f'{{"deny": [{_spiffe("spiffe://default/abc")}]}}', "kri_two")
    config = _http(_guarded(drafts, InboundRules((first, second))).chains[0])

    deny, allow = config.matcher.matcher_list.matchers
    assert _action(deny.on_match) == ("kri_two", RBAC.DENY)
    assert _action(allow.on_match) == ("kri_one", RBAC.ALLOW)
    assert _action(config.matcher.on_no_match) == ("default", RBAC.DENY)
    assert deny.predicate.single_predicate.input.name == "envoy.matching.inputs.uri_san"
    assert deny.predicate.single_predicate.value_match.safe_regex.regex == "(.*,)?spiffe://default/abc(,.*)?"
    assert not config.HasField("rules")
    assert not config.HasField("shadow_matcher")


def test_an_empty_match_holds_for_everybody(drafts):
    """`deny: [{}]` denies all, whatever is allowed elsewhere."""
    rules = InboundRules((_rule(f'{{"deny": [{{}}], "allow": [{_spiffe("spiffe://default/a")}]}}'),))
    config = _http(_guarded(drafts, rules).chains[0])

    assert not config.matcher.HasField("matcher_list")
    assert _action(config.matcher.on_no_match) == (KRI, RBAC.DENY)


def test_shadow_denial_by_identity_spares_everybody_else(drafts):
    """Only the clients named are counted as shadow-denied, and they are allowed."""
    rules = InboundRules((_rule(f'{{"allowWithShadowDeny": [{_spiffe("spiffe://default/a")}]}}'),))
    config = _http(_guarded(drafts, rules).chains[0])

    [allow], [shadow] = config.matcher.matcher_list.matchers, config.shadow_matcher.matcher_list.matchers
    assert _action(allow.on_match) == (KRI, RBAC.ALLOW)
    assert _action(shadow.on_match) == (KRI, RBAC.DENY)
    assert _action(config.shadow_matcher.on_no_match) == ("default", RBAC.ALLOW)


def test_a_server_name_is_matched_together_with_the_identity(drafts):
    """Both conditions of one match must hold; Envoy is told to read the server name."""
    match = '{"spiffeID": {"type": "Exact", "value": "spiffe://d/a"}, "sni": {"type": "Exact", "value": "b.mesh"}}'
    draft = _guarded(drafts, InboundRules((_rule(f'{{"allow": [{match}]}}'),)), "tcp")

    [entry] = _network(draft.chains[0]).matcher.matcher_list.matchers
    inputs = [part.single_predicate.input.name for part in entry.predicate.and_matcher.predicate]
    assert inputs == ["envoy.matching.inputs.uri_san", "envoy.matching.inputs.server_name"]
    assert [part.name for part in draft.listener.listener_filters] == ["envoy.filters.listener.tls_inspector"]


def test_permissions_come_before_every_other_filter(drafts):
    """Other policies' filters stay, behind RBAC; a placeholder of RBAC is replaced."""
    draft = drafts.inbound("tcp", TlsMode.STRICT)
    draft.chains[0].network_filters = [Filter(name="other"), Filter(name=NETWORK_RBAC)]
    inbound(draft, InboundRules())

    assert [part.name for part in draft.chains[0].network_filters] == [NETWORK_RBAC, "other"]


def test_envoy_accepts_every_form(drafts, envoy):
    """Envoy takes permissions by tags and by identity, with shadow denials, over HTTP and TCP."""
    by_tags = InboundRules(
        subsets=(
            _subset("AllowWithShadowDeny", TagMatch("kuma.io/service", "web"), TagMatch("v", "1", negated=True)),
            _subset("Allow", TagMatch("version", "*")),
            _subset("Deny"),
        )
    )
    everything = (
        f'{{"deny": [{_spiffe("spiffe://default/a")}], "allow": [{_spiffe("spiffe://default/b", "Prefix")}, '
        '{"spiffeID": {"type": "Exact", "value": "spiffe://d/a"}, "sni": {"type": "Exact", "value": "b.mesh"}}], '
        f'"allowWithShadowDeny": [{_spiffe("spiffe://default/c")}, {{}}]}}'
    )
    made = []
    for port, (protocol, rules) in enumerate(
        (p, r) for p in ("http", "tcp") for r in (InboundRules(), by_tags, InboundRules((_rule(everything),)))
    ):
        draft = drafts.inbound(protocol, TlsMode.PERMISSIVE, workload_port=8080 + port)
        inbound(draft, rules)
        made.append(draft)

    assert envoy.accepts(*made)

"""
What Envoy does to the requests of a route (spec/policies.md §10): filters become fields of the route.

A redirect answers the client itself, so a rewrite or a mirror beside it has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

from kuma.core.policies._kit.backends import BackendRef, Weighted, write_shares
from kuma.core.policies._kit.headers import header_options
from kuma.core.policies.meshhttproute.matching import Entry, by_prefix, envoy_matches
from kuma.core.policies.meshhttproute.spec import (
    Filter,
    HeaderModifier,
    PathRewrite,
    RequestMirror,
    RequestRedirect,
    UrlRewrite,
)
from kuma.core.units import parse_decimal
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import RedirectAction, Route, RouteAction
from kuma.envoy_api.envoy.type.matcher.v3.regex_pb2 import RegexMatchAndSubstitute
from kuma.envoy_api.envoy.type.v3.percent_pb2 import FractionalPercent

ClusterOf = Callable[[BackendRef], str | None]

_RESPONSE_CODES: Final = {
    301: RedirectAction.MOVED_PERMANENTLY,
    302: RedirectAction.FOUND,
    303: RedirectAction.SEE_OTHER,
    307: RedirectAction.TEMPORARY_REDIRECT,
    308: RedirectAction.PERMANENT_REDIRECT,
}
# The fewest decimals that hold the percentage; what is finer than a millionth is cut off.
_DENOMINATORS: Final = (
    (Decimal(1), FractionalPercent.HUNDRED),
    (Decimal(100), FractionalPercent.TEN_THOUSAND),
    (Decimal(10_000), FractionalPercent.MILLION),
)


def envoy_routes(entry: Entry, split: Sequence[Weighted], cluster_of: ClusterOf) -> list[Route]:
    """
    The routes of one match of a rule; none where there is nothing to lead to.

    ``split`` are the clusters of the rule's backends, ``cluster_of`` finds the cluster of a mirror's.
    """
    filters = entry.conf.filters or ()
    if not split and not any(one.type == "RequestRedirect" for one in filters):
        return []
    routes = []
    for match in envoy_matches(entry.match):
        route = Route(name=entry.name, match=match)
        # The timeout is MeshTimeout's; Envoy's own would count until then.
        route.route.timeout.SetInParent()
        if split:
            write_shares(route.route, split)
        write_filters(route, filters, prefix=by_prefix(entry.match), cluster_of=cluster_of)
        routes.append(route)
    return routes


def write_filters(route: Route, filters: Iterable[Filter], *, prefix: bool, cluster_of: ClusterOf) -> None:
    """
    Write filters, in the order given, on a route that has its match and its action.

    ``prefix`` tells whether the route was made of a path prefix, also when its own match is of an exact path.
    """
    for one in filters:
        if one.request_header_modifier is not None and one.type == "RequestHeaderModifier":
            route.request_headers_to_add.extend(header_options(one.request_header_modifier))
            route.request_headers_to_remove.extend(_removed(one.request_header_modifier))
        elif one.response_header_modifier is not None and one.type == "ResponseHeaderModifier":
            route.response_headers_to_add.extend(header_options(one.response_header_modifier))
            route.response_headers_to_remove.extend(_removed(one.response_header_modifier))
        elif one.request_redirect is not None and one.type == "RequestRedirect":
            route.redirect.CopyFrom(_redirect(one.request_redirect, route, prefix=prefix))
        elif route.HasField("redirect"):
            continue
        elif one.url_rewrite is not None and one.type == "URLRewrite":
            _write_rewrite(route, one.url_rewrite, prefix=prefix)
        elif one.request_mirror is not None and one.type == "RequestMirror":
            _write_mirror(route.route, one.request_mirror, cluster_of)


def _removed(modifier: HeaderModifier) -> tuple[str, ...]:
    return modifier.remove or ()


def _redirect(conf: RequestRedirect, route: Route, *, prefix: bool) -> RedirectAction:
    made = RedirectAction(
        host_redirect=conf.hostname or "",
        port_redirect=conf.port or 0,
        response_code=_RESPONSE_CODES[conf.status_code],
    )
    if conf.scheme is not None:
        made.scheme_redirect = conf.scheme
    whole, part = _new_path(conf.path, route, prefix=prefix)
    if whole is not None:
        made.regex_rewrite.CopyFrom(whole)
    elif part is not None:
        made.prefix_rewrite = part
    return made


def _write_rewrite(route: Route, conf: UrlRewrite, *, prefix: bool) -> None:
    action = route.route
    if conf.hostname is not None:
        action.host_rewrite_literal = conf.hostname
    elif conf.host_to_backend_hostname:
        action.auto_host_rewrite.value = True
    whole, part = _new_path(conf.path, route, prefix=prefix)
    # Envoy takes one of the two only; a later filter wins.
    if whole is not None:
        action.ClearField("prefix_rewrite")
        action.regex_rewrite.CopyFrom(whole)
    elif part is not None:
        action.ClearField("regex_rewrite")
        action.prefix_rewrite = part


def _new_path(
    rewrite: PathRewrite | None, route: Route, *, prefix: bool
) -> tuple[RegexMatchAndSubstitute | None, str | None]:
    """What replaces the whole path, or else what replaces the prefix that the route matches."""
    if rewrite is None:
        return None, None
    if rewrite.type == "ReplaceFullPath":
        return _whole(rewrite.replace_full_path or "/"), None
    if not prefix:
        return None, None
    new = rewrite.replace_prefix_match or "/"
    if route.match.HasField("path"):
        return _whole(new), None
    # The prefix of the match ends with a slash, so the new one must, or names would grow together.
    return None, new if new.endswith("/") else f"{new}/"


def _whole(path: str) -> RegexMatchAndSubstitute:
    made = RegexMatchAndSubstitute(substitution=path.replace("\\", "\\\\"))
    made.pattern.regex = ".*"
    return made


def _write_mirror(action: RouteAction, conf: RequestMirror, cluster_of: ClusterOf) -> None:
    cluster = cluster_of(conf.backend_ref)
    if cluster is None:
        return
    mirror = action.request_mirror_policies.add(cluster=cluster)
    if conf.percentage is not None:
        mirror.runtime_fraction.default_value.CopyFrom(_fraction(parse_decimal(str(conf.percentage))))


def _fraction(percent: Decimal) -> FractionalPercent:
    for factor, denominator in _DENOMINATORS:
        if percent * factor == int(percent * factor):
            return FractionalPercent(numerator=int(percent * factor), denominator=denominator)
    factor, denominator = _DENOMINATORS[-1]
    return FractionalPercent(numerator=int(percent * factor), denominator=denominator)

"""What a user may write in a MeshHTTPRoute."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from kuma.core.model.spec import Spec
from kuma.core.policies._kit.backends import BackendRef
from kuma.core.policies._kit.headers import HeaderChanges, HeaderMatch
from kuma.core.policies._kit.spec import PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Entries, Number

Method = Literal["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"]
Hostname = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
]


class PathMatch(Spec):
    """A condition on the path. A prefix ends at a slash: ``/a`` matches ``/a`` and ``/a/b``, never ``/ab``."""

    # In this order the text that names a route is made of them.
    value: Annotated[str, Field(min_length=1)]
    type: Literal["Exact", "PathPrefix", "RegularExpression"]


class QueryParamMatch(Spec):
    """A condition on one query parameter."""

    type: Literal["Exact", "RegularExpression"]
    name: Annotated[str, Field(min_length=1)]
    value: str


class Match(Spec):
    """A condition on a request; all parts given must hold."""

    path: PathMatch | None = None
    method: Method | None = None
    query_params: tuple[QueryParamMatch, ...] | None = None
    headers: tuple[HeaderMatch, ...] | None = None


class HeaderModifier(HeaderChanges):
    """Headers to set, to add and to take away."""

    remove: Annotated[tuple[str, ...], Field(max_length=16)] | None = None


class PathRewrite(Spec):
    """Another path: instead of the whole, or of the part that matched a prefix."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class RequestRedirect(Spec):
    """Sends the client elsewhere; what is not given stays as it was asked for."""

    scheme: Literal["http", "https"] | None = None
    hostname: Hostname | None = None
    path: PathRewrite | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class UrlRewrite(Spec):
    """Changes what the destination is asked for."""

    hostname: Hostname | None = None
    path: PathRewrite | None = None
    host_to_backend_hostname: bool | None = None


class RequestMirror(Spec):
    """Sends a copy of a part of the requests to another destination, whose answers are dropped."""

    percentage: Number | None = None
    backend_ref: BackendRef


class Filter(Spec):
    """One thing to do to requests or responses."""

    type: Literal["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "RequestMirror"]
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: UrlRewrite | None = None
    request_mirror: RequestMirror | None = None


class RuleConf(Spec):
    """Where matching requests go and what is done to them; without backends they go to the service itself."""

    filters: tuple[Filter, ...] | None = None
    backend_refs: tuple[BackendRef, ...] | None = None


def _at_least_one(matches: tuple[Match, ...]) -> tuple[Match, ...]:
    # After the matches themselves: pydantic's own check would call a list of bad ones empty, too.
    if not matches:
        raise PydanticCustomError("too_few", "in body should have at least 1 items")
    return matches


class Rule(Spec):
    """What happens to the requests that match one of ``matches``."""

    matches: Annotated[tuple[Match, ...], AfterValidator(_at_least_one)]
    default: RuleConf


class Conf(Spec):
    """The rules of one destination, the first to count first."""

    rules: Entries[Rule] = ()


class To(Spec):
    """A destination and the rules for requests to it; ``hostnames`` only with a gateway."""

    hostnames: tuple[str, ...] | None = None
    target_ref: TargetRef
    rules: tuple[Rule, ...]

    @property
    def default(self) -> Conf:
        """The rules as the conf that policies are merged by."""
        return Conf(rules=self.rules)


class MeshHTTPRoute(PolicySpec):
    """The spec of a MeshHTTPRoute."""

    to: Entries[To] = ()

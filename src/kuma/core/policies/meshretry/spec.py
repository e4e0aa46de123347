"""What a user may write in a MeshRetry."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kuma.core.model.spec import Duration, Spec
from kuma.core.policies._kit.spec import PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Count, Entries, LongCount

HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[a-z0-9!#$%&'*+\-.^_\x60|~]+$")]


class Tcp(Spec):
    """Retries of connections."""

    max_connect_attempt: Count | None = None


class BackOff(Spec):
    """How long to wait between attempts."""

    base_interval: Duration | None = None
    max_interval: Duration | None = None


class ResetHeader(Spec):
    """A response header that says when to try again."""

    name: HeaderName
    format: Literal["Seconds", "UnixTimestamp"]


class RateLimitedBackOff(Spec):
    """How long to wait when the service itself says so."""

    reset_headers: tuple[ResetHeader, ...] | None = None
    max_interval: Duration | None = None


class HeaderMatch(Spec):
    """A condition on one header."""

    type: Literal["Exact", "Present", "RegularExpression", "Absent", "Prefix"] = "Exact"
    name: HeaderName
    value: str | None = None


class HostSelection(Spec):
    """Which endpoints an attempt leaves out."""

    predicate: Literal["OmitPreviousHosts", "OmitHostsWithTags", "OmitPreviousPriorities"]
    tags: dict[str, str] | None = None
    update_frequency: Count = 2


class Http(Spec):
    """Retries of HTTP requests. ``retry_on`` holds conditions, methods and status codes."""

    num_retries: Count | None = None
    per_try_timeout: Duration | None = None
    back_off: BackOff | None = None
    rate_limited_back_off: RateLimitedBackOff | None = None
    retry_on: tuple[str, ...] | None = None
    retriable_response_headers: tuple[HeaderMatch, ...] | None = None
    retriable_request_headers: tuple[HeaderMatch, ...] | None = None
    host_selection: tuple[HostSelection, ...] | None = None
    host_selection_max_attempts: LongCount | None = None


class Grpc(Spec):
    """Retries of gRPC calls."""

    num_retries: Count | None = None
    per_try_timeout: Duration | None = None
    back_off: BackOff | None = None
    rate_limited_back_off: RateLimitedBackOff | None = None
    retry_on: (
        tuple[Literal["Canceled", "DeadlineExceeded", "Internal", "ResourceExhausted", "Unavailable"], ...] | None
    ) = None


class Conf(Spec):
    """Retries per protocol; the one the destination speaks applies."""

    tcp: Tcp | None = None
    http: Http | None = None
    grpc: Grpc | None = None


class To(Spec):
    """A destination."""

    target_ref: TargetRef
    default: Conf = Conf()


class MeshRetry(PolicySpec):
    """The spec of a MeshRetry."""

    to: Entries[To] = ()

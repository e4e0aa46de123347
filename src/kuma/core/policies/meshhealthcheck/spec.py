"""What a user may write in a MeshHealthCheck."""

from __future__ import annotations

from kuma.core.model.spec import Duration, Spec
from kuma.core.policies._kit.headers import HeaderChanges
from kuma.core.policies._kit.spec import PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Count, Entries, Number


class Tcp(Spec):
    """Probes by a connection; ``receive`` must come back in this order, not necessarily in one piece."""

    disabled: bool | None = None
    send: str | None = None
    receive: tuple[str, ...] | None = None


class Http(Spec):
    """Probes by a request."""

    disabled: bool | None = None
    path: str | None = None
    request_headers_to_add: HeaderChanges | None = None
    expected_statuses: tuple[Count, ...] | None = None


class Grpc(Spec):
    """Probes by gRPC's own health service."""

    disabled: bool | None = None
    service_name: str | None = None
    authority: str | None = None


class Conf(Spec):
    """How endpoints are probed; the kind of probe is that of the protocol the destination speaks."""

    interval: Duration | None = None
    timeout: Duration | None = None
    unhealthy_threshold: Count | None = None
    healthy_threshold: Count | None = None
    initial_jitter: Duration | None = None
    interval_jitter: Duration | None = None
    interval_jitter_percent: Count | None = None
    healthy_panic_threshold: Number | None = None
    fail_traffic_on_panic: bool | None = None
    event_log_path: str | None = None
    always_log_health_check_failures: bool | None = None
    no_traffic_interval: Duration | None = None
    reuse_connection: bool | None = None
    tcp: Tcp | None = None
    http: Http | None = None
    grpc: Grpc | None = None


class To(Spec):
    """A destination."""

    target_ref: TargetRef
    default: Conf = Conf()


class MeshHealthCheck(PolicySpec):
    """The spec of a MeshHealthCheck."""

    to: Entries[To] = ()

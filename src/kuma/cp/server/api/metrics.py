"""What the API tells about itself to Prometheus; names are those of users' dashboards (spec/api-server.md §3)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram

_METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"})
_SIZES = tuple(100.0 * 10**power for power in range(8))


class ApiMetrics:
    """``handler`` is a route's path with its parameters unfilled, so that callers cannot make new series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("service", "handler", "method", "code")
        self._duration = Histogram(
            "api_server_http_request_duration_seconds", "Time to answer a request", labels, registry=registry
        )
        self._size = Histogram(
            "api_server_http_response_size_bytes", "Size of an answer", labels, buckets=_SIZES, registry=registry
        )
        self._inflight = Gauge(
            "api_server_http_requests_inflight",
            "Requests being answered",
            ("service", "handler"),
            registry=registry,
        ).labels("", "")

    def started(self) -> None:
        self._inflight.inc()

    def ended(self, handler: str, method: str, status: int, *, seconds: float, size: int) -> None:
        labels = ("", handler, method if method in _METHODS else "OTHER", str(status))
        self._inflight.dec()
        self._duration.labels(*labels).observe(seconds)
        self._size.labels(*labels).observe(size)

"""What the control plane tells Prometheus about itself (names: spec/metrics.md).

Hot paths count in plain integers; a collector reads them when it is asked. Counters that users' dashboards know have
no ``_total`` in Kuma, and the library adds it to whatever is called a counter: those are of unknown type here.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from kuma.core.snapshot.plan import Plan
from kuma.core.version import COMPATIBLE_VERSION, PRODUCT
from kuma.core.xds.session import TYPES
from kuma.cp.reconcile.meshes import Meshes
from kuma.cp.reconcile.streams import Streams

_SNAPSHOT_BUCKETS: Final = tuple(2**power for power in range(12))
_DELIVERY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which control plane instance this is."""

    instance_id: str
    cluster_id: str


class HealthCounts(Protocol):
    """What passed over HDS streams since the start."""

    requests: int
    reports: int
    generated: int
    generation_seconds: float
    failed: int


class HealthStreams(Protocol):
    """The server of HDS streams."""

    @property
    def counts(self) -> HealthCounts: ...

    def __len__(self) -> int: ...


class LoopLag:
    """How late the event loop runs what was due; the highest since the last scrape."""

    def __init__(self) -> None:
        self.highest = 0.0


@dataclass(slots=True, eq=False)
class ControlPlaneCollector(Collector):
    """Reads the control plane's own counters."""

    identity: Identity
    meshes: Meshes
    streams: Streams
    health: HealthStreams | None
    lag: LoopLag = field(default_factory=LoopLag)

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "cp_info",
            "This control plane",
            labels=("product", "version", "build_date", "git_commit", "git_tag", "instance_id", "cluster_id"),
        )
        labels = (PRODUCT, COMPATIBLE_VERSION, "unknown", "unknown", "unknown")
        info.add_metric((*labels, self.identity.instance_id, self.identity.cluster_id), 1)
        yield info
        yield GaugeMetricFamily("leader", "Whether this instance leads its replicas", value=1)
        yield GaugeMetricFamily("xds_streams_active", "Open ADS streams", value=len(self.streams))
        yield from self._exchanged()
        yield from self._made()
        yield from self._computed()
        yield from self._health()
        lag, self.lag.highest = self.lag.highest, 0.0
        yield GaugeMetricFamily("event_loop_lag_seconds", "Longest delay of the event loop since last asked", value=lag)

    def _exchanged(self) -> Iterator[Metric]:
        counts = self.streams.counts
        received = UnknownMetricFamily(
            "xds_requests_received", "Discovery requests", labels=("type_url", "confirmation", "error_type")
        )
        sent = UnknownMetricFamily("xds_responses_sent", "Discovery responses", labels=("type_url",))
        size = UnknownMetricFamily("xds_responses_sent_bytes", "Bytes of discovery responses", labels=("type_url",))
        for url, count in sorted(counts.acknowledged.items()):
            received.add_metric((url, "ACK", "no_error"), count)
        for url, count in sorted(counts.rejected.items()):
            received.add_metric((url, "NACK", "user"), count)
        for url, count in sorted(counts.sent.items()):
            sent.add_metric((url,), count)
        for url, count in sorted(counts.sent_bytes.items()):
            size.add_metric((url,), count)
        yield from (received, sent, size)

    def _made(self) -> Iterator[Metric]:
        """What was made for proxies, and for which they are."""
        counts = self.streams.counts
        generation = SummaryMetricFamily(
            "xds_generation", "Seconds to compute the configuration of a proxy", labels=("proxy_type", "result")
        )
        generation.add_metric(("dataplane", "generated"), counts.generated.total(), counts.generation_seconds)
        yield generation
        yield UnknownMetricFamily(
            "xds_generation_errors", "Configurations that could not be computed", value=counts.failed
        )
        for name, text, by_mesh in (
            ("xds_dataplane_config_regenerated_total", "Configurations computed for a proxy", counts.generated),
            ("cert_generation", "Certificates issued for proxies", counts.certificates),
            ("cert_generation_failure", "Certificates that could not be issued", counts.certificates_failed),
        ):
            metric = UnknownMetricFamily(name, text, labels=("mesh",))
            for mesh, count in sorted(by_mesh.items()):
                metric.add_metric((mesh,), count)
            yield metric
        streams = self.streams.all()
        versions = GaugeMetricFamily("xds_client_versions", "Connected proxies by version", labels=("client_version",))
        for version, count in sorted(Counter(stream.observation.version for stream in streams).items()):
            versions.add_metric((version,), count)
        yield versions
        yield self._sizes([stream.plan for stream in streams if stream.plan is not None])

    def _sizes(self, plans: Sequence[Plan]) -> Metric:
        """How much the connected proxies have; Kuma counts each computation instead."""
        metric = HistogramMetricFamily(
            "xds_snapshot_resources", "Resources of the connected proxies, by type", labels=("resource_type",)
        )
        layers = [plan.desired().layers for plan in plans]
        for url in TYPES:
            sizes = sorted(sum(len(layer.by_name(url)) for layer in some) for some in layers)
            buckets = [(str(float(most)), bisect_right(sizes, most)) for most in _SNAPSHOT_BUCKETS]
            metric.add_metric((url.rpartition(".")[2],), [*buckets, ("+Inf", len(sizes))], sum(sizes))
        return metric

    def _health(self) -> Iterator[Metric]:
        health = self.health
        yield GaugeMetricFamily("hds_streams_active", "Open HDS streams", value=0 if health is None else len(health))
        if health is None:
            return
        counts = health.counts
        generation = SummaryMetricFamily("hds_generation", "Seconds to compute what a proxy has to probe")
        generation.add_metric((), counts.generated, counts.generation_seconds)
        yield generation
        # Both count what proxies say, as in Kuma: what they ask, and what they found.
        yield UnknownMetricFamily("hds_requests_received", "Requests for what to probe", value=counts.requests)
        yield UnknownMetricFamily("hds_responses_sent", "Reports of what was found", value=counts.reports)
        yield UnknownMetricFamily("hds_generation_errors", "Probes that could not be computed", value=counts.failed)

    def _computed(self) -> Iterator[Metric]:
        proxies = GaugeMetricFamily("mesh_proxies", "Dataplanes of a mesh", labels=("mesh",))
        connected = GaugeMetricFamily("mesh_proxies_connected", "Proxies of a mesh connected here", labels=("mesh",))
        classes = GaugeMetricFamily(
            "mesh_proxy_classes", "Distinct sets of outbounds among the connected proxies of a mesh", labels=("mesh",)
        )
        runway = GaugeMetricFamily(
            "mesh_certificate_runway_seconds",
            "How long until the first certificate of a connected proxy ends, if the control plane stopped now",
            labels=("mesh",),
        )
        expiry = GaugeMetricFamily(
            "xds_cert_expiration_timestamp_seconds",
            "When the first certificate of a connected proxy ends",
            labels=("mesh",),
        )
        for mesh, state in sorted(self.meshes.states().items()):
            proxies.add_metric((mesh,), len(state.snapshot.proxies))
            connected.add_metric((mesh,), len(self.streams.of_mesh(mesh)))
            classes.add_metric((mesh,), self.streams.classes(mesh))
            left = self.streams.certificate_runway(mesh)
            if left is not None:
                runway.add_metric((mesh,), left)
                expiry.add_metric((mesh,), time.time() + left)
        yield from (proxies, connected, classes, runway, expiry)
        yield CounterMetricFamily("mesh_changes", "Changes read from the store", value=self.meshes.changes)
        yield CounterMetricFamily("mesh_snapshots", "Snapshots made of them", value=self.meshes.published)


def delivery_histogram(registry: CollectorRegistry) -> Histogram:
    """Time from the moment a change was known to the proxy's ACK."""
    return Histogram(
        "xds_delivery", "Seconds from a known change to the proxy's ACK", buckets=_DELIVERY_BUCKETS, registry=registry
    )

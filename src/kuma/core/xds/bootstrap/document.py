"""The parts of an Envoy bootstrap, put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.struct_pb2 import Struct

from kuma.core.errors import BadRequest, InvalidResource, Violation
from kuma.core.xds import node as keys
from kuma.core.xds.bootstrap.control_plane import ControlPlane, packed, pipe_cluster
from kuma.core.xds.bootstrap.request import BootstrapRequest
from kuma.core.xds.node import ProxyType
from kuma.core.xds.sockets import access_log_pipe, socket_path
from kuma.envoy_api.envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from kuma.envoy_api.envoy.config.bootstrap.v3.bootstrap_pb2 import Admin, Bootstrap, LayeredRuntime, RuntimeLayer
from kuma.envoy_api.envoy.config.core.v3.address_pb2 import Address, Pipe, SocketAddress
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Node
from kuma.envoy_api.envoy.config.core.v3.config_source_pb2 import (
    AggregatedConfigSource,
    ApiConfigSource,
    ApiVersion,
    ConfigSource,
)
from kuma.envoy_api.envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from kuma.envoy_api.envoy.config.metrics.v3.stats_pb2 import StatsConfig, TagSpecifier
from kuma.envoy_api.envoy.config.overload.v3.overload_pb2 import (
    OverloadAction,
    OverloadManager,
    ResourceMonitor,
    ThresholdTrigger,
    Trigger,
)
from kuma.envoy_api.envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from kuma.envoy_api.envoy.extensions.regex_engines.v3.google_re2_pb2 import GoogleRE2
from kuma.envoy_api.envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections_pb2 import (
    DownstreamConnectionsConfig,
)
from kuma.envoy_api.envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2 import FixedHeapConfig

_STATS_TAGS: Final = (
    ("name", r"^grpc\.((.+)\.)"),
    ("status", r"^grpc.*streams_closed(_([0-9]+))"),
    ("kafka_name", r"^kafka(\.(\S*[0-9]))\."),
    ("kafka_type", r"^kafka\..*\.(.*?(?=_duration|$))"),
    ("worker", r"(worker_([0-9]+)\.)"),
    ("listener", r"((.+?)\.)rbac\."),
)
_RUNTIME: Final = {
    "re2.max_program_size.error_level": 4294967295,
    "re2.max_program_size.warn_level": 1000,
}


@dataclass(frozen=True, slots=True)
class BootstrapParams:
    """
    What the control plane brings to every bootstrap.

    ``xds_host`` is the configured host, else the one kuma-dp reached it by, without port and brackets;
    ``xds_host_ipv4_only`` says that this name resolves to IPv4 addresses only. ``ca`` is the PEM text of the control
    plane's own CA, for proxies that bring none.
    """

    xds_host: str
    xds_port: int
    ca: str = ""
    token_required: bool = True
    reloadable_tokens: bool = False
    delta_default: bool = True
    hds: bool = True
    xds_host_ipv4_only: bool = False
    xds_connect_timeout: timedelta = timedelta(seconds=1)
    xds_max_receive_message_bytes: int = 4194304
    admin_address: str = "127.0.0.1"
    admin_port: int = 9901
    admin_unix_socket: bool = True
    admin_access_log_path: str = "/dev/null"
    readiness_port: int = 9902
    gateway_max_connections: int = 50000


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """What the bootstrap needs to know of the proxy's resource and mesh."""

    services: tuple[str, ...] = ()
    """Its ``kuma.io/service`` values."""
    admin_port: int = 0
    """``networking.admin.port``; 0 is not given."""
    builtin_gateway: bool = False
    exclusive_mesh_services: bool = False
    """Whether its mesh names services by MeshService resources only."""


def bootstrap(request: BootstrapRequest, params: BootstrapParams, facts: ProxyFacts) -> Bootstrap:
    """
    The bootstrap of one proxy.

    Raises:
        InvalidResource: the proxy cannot join as it is: no name, no mesh, or no token where one is needed.
        BadRequest: the CA it brings is no CA.
    """
    if violations := tuple(_violations(request, params)):
        raise InvalidResource(violations)
    ca = request.ca_cert or params.ca
    _check_ca(ca)
    control_plane = ControlPlane(
        host=params.xds_host,
        port=params.xds_port,
        ca=ca,
        token=request.dataplane_token.strip(),
        token_path=request.dataplane_token_path if params.reloadable_tokens else "",
        connect_timeout=params.xds_connect_timeout,
        max_receive_message_bytes=params.xds_max_receive_message_bytes,
        ipv4_only=params.xds_host_ipv4_only,
    )
    unified = keys.FEATURE_UNIFIED_NAMING in request.features and facts.exclusive_mesh_services
    ads_name, access_log_name = (
        ("system_ads", "system_access_log_sink") if unified else ("ads_cluster", "access_log_sink")
    )
    access_log_socket = access_log_pipe(request.workdir, request.name, request.mesh)
    clusters = [pipe_cluster(access_log_name, access_log_socket, params.xds_connect_timeout)]
    if not control_plane.token_path:
        clusters.append(control_plane.cluster(ads_name))

    def api(kind: ApiConfigSource.ApiType) -> ApiConfigSource:
        return ApiConfigSource(
            api_type=kind,
            transport_api_version=ApiVersion.V3,
            set_node_on_first_message_only=True,
            grpc_services=[control_plane.grpc_service(ads_name)],
        )

    result = Bootstrap(
        node=_node(request, params, facts),
        layered_runtime=_runtime(facts),
        stats_config=StatsConfig(stats_tags=[TagSpecifier(tag_name=name, regex=regex) for name, regex in _STATS_TAGS]),
        dynamic_resources=Bootstrap.DynamicResources(
            lds_config=_ads(),
            cds_config=_ads(),
            ads_config=api(_api_type(request, params)),
        ),
        static_resources=Bootstrap.StaticResources(
            secrets=[control_plane.validation_secret()],
            clusters=clusters,
        ),
        default_regex_engine=TypedExtensionConfig(
            name="envoy.regex_engines.google_re2", typed_config=packed(GoogleRE2())
        ),
    )
    if params.hds and request.proxy_type is ProxyType.DATAPLANE:
        result.hds_config.CopyFrom(api(ApiConfigSource.GRPC))
    if (admin := _admin(request, params, facts)) is not None:
        result.admin.CopyFrom(admin)
    if facts.builtin_gateway:
        result.overload_manager.CopyFrom(
            _overload(params.gateway_max_connections, request.resources.max_heap_size_bytes)
        )
    return result


def _violations(request: BootstrapRequest, params: BootstrapParams) -> Iterator[Violation]:
    for field, value in (("name", request.name), ("mesh", request.mesh)):
        if not value and (field == "name" or request.proxy_type is ProxyType.DATAPLANE):
            yield Violation(field, "cannot be empty")
        if not value.isprintable() or "/" in value:
            yield Violation(
                field,
                "invalid characters: must consist of lower case alphanumeric characters, '-', '.' and '_'.",
            )
    if "." in request.mesh:
        yield Violation("mesh", "a mesh name cannot contain a dot")
    if params.token_required and not request.dataplane_token.strip() and not request.dataplane_token_path:
        yield Violation(
            "dataplaneToken",
            "Dataplane Token is required. Make one with 'kumactl generate dataplane-token' and give it to kuma-dp "
            "with --dataplane-token-file",
        )


def _check_ca(pem: str) -> None:
    """Envoy would refuse every connection to the control plane; better to say it now and to the right person."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        # Parsing is lazy: what is asked for below and the public key are what Envoy will need.
        certificate.public_bytes(Encoding.DER)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return
    except ValueError as error:
        raise BadRequest(
            "the CA certificate for the control plane is not a PEM certificate; check the file given to kuma-dp "
            "with --ca-cert-file"
        ) from error
    if not constraints.ca:
        raise BadRequest(
            "the certificate given as CA for the control plane is not a CA (basic constraint CA:FALSE); give "
            "kuma-dp the certificate of the authority that signed the control plane's certificate"
        )


def _api_type(request: BootstrapRequest, params: BootstrapParams) -> ApiConfigSource.ApiType:
    wanted = params.delta_default and keys.FEATURE_SOTW_GRPC not in request.features
    return ApiConfigSource.DELTA_GRPC if wanted or keys.FEATURE_DELTA_GRPC in request.features else ApiConfigSource.GRPC


def _ads() -> ConfigSource:
    return ConfigSource(
        ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3, initial_fetch_timeout=Duration()
    )


def _node(request: BootstrapRequest, params: BootstrapParams, facts: ProxyFacts) -> Node:
    cluster = request.proxy_type.value
    if request.proxy_type is ProxyType.DATAPLANE:
        cluster = min(facts.services, default="unknown")
    mesh = request.mesh if request.proxy_type is ProxyType.DATAPLANE else ""
    return Node(
        id=keys.node_id(mesh, request.name), cluster=cluster, metadata=_struct(_metadata(request, params, facts))
    )


def _metadata(request: BootstrapRequest, params: BootstrapParams, facts: ProxyFacts) -> dict[str, Any]:
    """Keys that are not given stay out, but for those that every Kuma proxy has."""
    always = {
        keys.VERSION: request.version.model_dump(by_alias=True),
        keys.FEATURES: list(request.features),
        keys.WORKDIR: request.workdir,
        keys.METRICS_CERT_PATH: request.metrics_resources.cert_path,
        keys.METRICS_KEY_PATH: request.metrics_resources.key_path,
        keys.SYSTEM_CA_PATH: request.system_ca_path,
        keys.SPIRE_SOCKET_PATH: request.spire_resources.socket_path,
        keys.IPV6_ENABLED: request.ipv6_enabled,
        keys.PROXY_TYPE: request.proxy_type.value,
    }
    admin_port = facts.admin_port or params.admin_port
    given = {
        keys.RESOURCE: request.dataplane_resource,
        keys.ADMIN_PORT: str(admin_port) if admin_port else "",
        keys.ADMIN_ADDRESS: params.admin_address if admin_port else "",
        keys.ADMIN_SOCKET_PATH: _admin_socket(request, params) if admin_port else "",
        keys.READINESS_PORT: str(request.readiness_port or params.readiness_port),
        keys.DNS_PORT: str(request.dns_port) if request.dns_port else "",
        keys.APP_PROBE_PROXY: "true" if request.app_probe_proxy_enabled else "",
        keys.DYNAMIC_METADATA: request.dynamic_metadata,
        keys.TRANSPARENT_PROXY: request.dataplane_config,
        keys.OTEL_ENV: request.otel_env,
    }
    return {**always, **{key: value for key, value in given.items() if value}}


def _runtime(facts: ProxyFacts) -> LayeredRuntime:
    layers = [RuntimeLayer(name="kuma", static_layer=_struct(_RUNTIME))]
    if facts.builtin_gateway:
        rtds = RuntimeLayer.RtdsLayer(
            name="gateway.listeners",
            rtds_config=ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3),
        )
        layers.append(RuntimeLayer(name="gateway.listeners", rtds_layer=rtds))
    return LayeredRuntime(layers=layers)


def _admin_socket(request: BootstrapRequest, params: BootstrapParams) -> str:
    if not params.admin_unix_socket or not request.workdir:
        return ""
    return socket_path(request.workdir, "kuma-envoy-admin")


def _admin(request: BootstrapRequest, params: BootstrapParams, facts: ProxyFacts) -> Admin | None:
    port = facts.admin_port or params.admin_port
    if not port:
        return None
    if path := _admin_socket(request, params):
        address = Address(pipe=Pipe(path=path, mode=0o600))
    else:
        address = Address(socket_address=SocketAddress(address=params.admin_address, port_value=port))
    log = AccessLog(
        name="envoy.access_loggers.file", typed_config=packed(FileAccessLog(path=params.admin_access_log_path))
    )
    return Admin(address=address, access_log=[log])


def _overload(max_connections: int, max_heap: int) -> OverloadManager:
    """A gateway faces strangers: bounded connections, and bounded memory where the bound is known."""
    connections = ResourceMonitor(
        name="envoy.resource_monitors.global_downstream_max_connections",
        typed_config=packed(DownstreamConnectionsConfig(max_active_downstream_connections=max_connections)),
    )
    manager = OverloadManager(resource_monitors=[connections])
    manager.refresh_interval.FromMilliseconds(250)
    if max_heap:
        heap = "envoy.resource_monitors.fixed_heap"
        manager.resource_monitors.append(
            ResourceMonitor(name=heap, typed_config=packed(FixedHeapConfig(max_heap_size_bytes=max_heap)))
        )
        for action, threshold in (("shrink_heap", 0.95), ("stop_accepting_requests", 0.98)):
            trigger = Trigger(name=heap, threshold=ThresholdTrigger(value=threshold))
            manager.actions.append(OverloadAction(name=f"envoy.overload_actions.{action}", triggers=[trigger]))
    return manager


def _struct(data: dict[str, Any]) -> Struct:
    try:
        return ParseDict(data, Struct())
    except (ParseError, ValueError, OverflowError, RecursionError) as error:
        raise BadRequest("bootstrap request: a value is nested too deeply or is too large a number") from error

"""How the proxy's Envoy reaches the control plane, whom it trusts there, and how it proves who it is."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import UInt32Value

from kuma.core.units import is_ip
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster, UpstreamConnectionOptions
from kuma.envoy_api.envoy.config.core.v3.address_pb2 import Address, Pipe, SocketAddress, TcpKeepalive
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import DataSource, HeaderValue, TransportSocket
from kuma.envoy_api.envoy.config.core.v3.grpc_service_pb2 import GrpcService
from kuma.envoy_api.envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from kuma.envoy_api.envoy.config.grpc_credential.v3.file_based_metadata_pb2 import FileBasedMetadataConfig
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsParameters,
)
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext
from kuma.envoy_api.envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from kuma.envoy_api.envoy.type.matcher.v3.string_pb2 import StringMatcher

_VALIDATION_CONTEXT: Final = "cp_validation_ctx"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_FILE_CREDENTIALS: Final = "envoy.grpc_credentials.file_based_metadata"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """
    The control plane as one proxy sees it.

    With ``token_path`` Envoy reads the token from that file whenever it opens a stream; otherwise ``token`` is
    fixed in the bootstrap for as long as this Envoy lives.
    """

    host: str
    port: int
    ca: str
    token: str
    token_path: str
    connect_timeout: timedelta
    max_receive_message_bytes: int
    ipv4_only: bool

    def grpc_service(self, cluster: str) -> GrpcService:
        """The service behind ADS and HDS."""
        if self.token_path:
            return GrpcService(google_grpc=self._google_grpc())
        metadata = [HeaderValue(key="authorization", value=self.token)] if self.token else []
        return GrpcService(envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=cluster), initial_metadata=metadata)

    def cluster(self, name: str) -> Cluster:
        """The cluster of the control plane's data plane server."""
        tls = UpstreamTlsContext(
            # A literal address is no server name (RFC 6066 §3), and some servers refuse one.
            sni="" if is_ip(self.host) else self.host,
            common_tls_context=CommonTlsContext(
                # As a client Envoy stops at TLS 1.2 unless told; a control plane may be set to speak 1.3 only.
                tls_params=TlsParameters(
                    tls_minimum_protocol_version=TlsParameters.TLSv1_2,
                    tls_maximum_protocol_version=TlsParameters.TLSv1_3,
                ),
                validation_context_sds_secret_config=SdsSecretConfig(name=_VALIDATION_CONTEXT),
            ),
        )
        address = Address(socket_address=SocketAddress(address=self.host, port_value=self.port))
        cluster = http2_cluster(name, address, self.connect_timeout)
        if not is_ip(self.host):
            cluster.type = Cluster.STRICT_DNS
            cluster.dns_lookup_family = Cluster.V4_ONLY if self.ipv4_only else Cluster.AUTO
        cluster.transport_socket.CopyFrom(
            TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(tls)),
        )
        return cluster

    def validation_secret(self) -> Secret:
        """Trust in the control plane: its CA, and only for the host this proxy was told to join."""
        host = ipaddress.ip_address(self.host).compressed if is_ip(self.host) else self.host
        return Secret(
            name=_VALIDATION_CONTEXT,
            validation_context=CertificateValidationContext(
                trusted_ca=DataSource(inline_bytes=self.ca.encode()),
                match_typed_subject_alt_names=[
                    SubjectAltNameMatcher(san_type=kind, matcher=StringMatcher(exact=host))
                    for kind in (SubjectAltNameMatcher.DNS, SubjectAltNameMatcher.IP_ADDRESS)
                ],
            ),
        )

    def _google_grpc(self) -> GrpcService.GoogleGrpc:
        google = GrpcService.GoogleGrpc
        host = f"[{self.host}]" if ":" in self.host else self.host
        arguments = {
            "grpc.http2.max_pings_without_data": 0,
            "grpc.keepalive_time_ms": 10_000,
            "grpc.keepalive_timeout_ms": 30_000,
            "grpc.max_receive_message_length": self.max_receive_message_bytes,
        }
        plugin = google.CallCredentials.MetadataCredentialsFromPlugin(
            name=_FILE_CREDENTIALS,
            typed_config=packed(FileBasedMetadataConfig(secret_data=DataSource(filename=self.token_path))),
        )
        return google(
            target_uri=f"{host}:{self.port}",
            stat_prefix="ads",
            credentials_factory_name=_FILE_CREDENTIALS,
            channel_credentials=google.ChannelCredentials(
                ssl_credentials=google.SslCredentials(root_certs=DataSource(inline_bytes=self.ca.encode())),
            ),
            call_credentials=[google.CallCredentials(from_plugin=plugin)],
            channel_args=google.ChannelArgs(
                args={key: google.ChannelArgs.Value(int_value=value) for key, value in arguments.items()}
            ),
        )


def pipe_cluster(name: str, path: str, connect_timeout: timedelta) -> Cluster:
    """A cluster whose one endpoint is a Unix socket."""
    return http2_cluster(name, Address(pipe=Pipe(path=path)), connect_timeout)


def http2_cluster(name: str, address: Address, connect_timeout: timedelta) -> Cluster:
    """A static cluster with one endpoint that speaks HTTP/2, watched by TCP keepalive."""
    http2 = HttpProtocolOptions(
        explicit_http_config=HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=Http2ProtocolOptions())
    )
    connect = Duration()
    connect.FromTimedelta(connect_timeout)
    cluster = Cluster(
        name=name,
        type=Cluster.STATIC,
        lb_policy=Cluster.ROUND_ROBIN,
        connect_timeout=connect,
        upstream_connection_options=UpstreamConnectionOptions(
            tcp_keepalive=TcpKeepalive(
                keepalive_probes=UInt32Value(value=3),
                keepalive_time=UInt32Value(value=10),
                keepalive_interval=UInt32Value(value=10),
            )
        ),
        load_assignment=ClusterLoadAssignment(
            cluster_name=name,
            endpoints=[LocalityLbEndpoints(lb_endpoints=[LbEndpoint(endpoint=Endpoint(address=address))])],
        ),
    )
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(packed(http2))
    return cluster


def packed(message: Message) -> Any:
    """The message as ``Any``, with the same bytes each time."""
    box = Any()
    box.Pack(message, deterministic=True)
    return box

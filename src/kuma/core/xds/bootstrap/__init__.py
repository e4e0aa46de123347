"""The Envoy bootstrap of a proxy that joins: from its request to the text its Envoy starts with.

Pure: the control plane reads the request and its own settings and store, and hands all that in. Equal arguments give
an equal text, byte for byte. The resource a proxy brings is not read here; what the bootstrap needs to know of it
comes as ``ProxyFacts``.

Facts: spec/dataplane.md §2 and §4.
"""

from kuma.core.xds.bootstrap.document import BootstrapParams, ProxyFacts, bootstrap
from kuma.core.xds.bootstrap.request import MAX_REQUEST_BYTES, BootstrapRequest
from kuma.core.xds.bootstrap.text import response, to_yaml

__all__ = [
    "MAX_REQUEST_BYTES",
    "BootstrapParams",
    "BootstrapRequest",
    "ProxyFacts",
    "bootstrap",
    "response",
    "to_yaml",
]

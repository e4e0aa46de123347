"""Secret: bytes that belong to a mesh, such as a signing key or a certificate authority's key."""

from typing import Final

from kuma.core.model.resource import Definition
from kuma.core.resources.secret.spec import Secret
from kuma.core.resources.secret.validate import validate

DEFINITION: Final = Definition(spec=Secret, validate=validate)

"""GlobalSecret: bytes that belong to the control plane itself. Schema and rules are those of a Secret."""

from typing import Final

from kuma.core.model.resource import Definition
from kuma.core.resources.secret.spec import Secret
from kuma.core.resources.secret.validate import validate

DEFINITION: Final = Definition(spec=Secret, validate=validate)

"""Mesh: the isolated space that proxies, services and policies belong to, and its certificate authorities."""

from typing import Final

from kuma.core.model.resource import Definition
from kuma.core.resources.mesh.complete import complete
from kuma.core.resources.mesh.spec import Mesh
from kuma.core.resources.mesh.validate import validate, warnings

DEFINITION: Final = Definition(spec=Mesh, validate=validate, warnings=warnings, complete=complete)

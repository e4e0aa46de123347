"""MeshInsight: the figures of one mesh. Derived whenever it is read, never stored."""

from typing import Final

from kuma.core.model.resource import Definition
from kuma.core.resources.meshinsight.spec import MeshInsight

DEFINITION: Final = Definition(spec=MeshInsight)

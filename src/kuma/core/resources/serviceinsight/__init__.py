"""ServiceInsight: how each service of a mesh stands. Derived whenever it is read, never stored."""

from typing import Final

from kuma.core.model.resource import Definition
from kuma.core.resources.serviceinsight.spec import ServiceInsight

DEFINITION: Final = Definition(spec=ServiceInsight)

"""DataplaneInsight: what the control plane observed of one proxy. Written by the control plane, read by everyone."""

from typing import Final

from kuma.core.model.resource import Definition
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight

DEFINITION: Final = Definition(spec=DataplaneInsight)

"""Dataplane: one proxy beside one application: what it offers, what it consumes and where it can be reached."""

from typing import Final

from kuma.core.model.resource import Definition
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.resources.dataplane.validate import validate

DEFINITION: Final = Definition(spec=Dataplane, validate=validate)

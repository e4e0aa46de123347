"""Build hook: a wheel or an editable install always comes with ``kuma.envoy_api`` of the pinned Envoy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))  # hatchling loads this file alone; its neighbour is found so

from generate_envoy_api import generate


class EnvoyApiHook(BuildHookInterface[Any]):
    """Generates the Envoy API in the source tree before hatchling collects files; does nothing when it is current."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Run before each build of a wheel, standard or editable; a source distribution carries only the generator."""
        if self.target_name != "wheel":
            return
        if generate(Path(self.root, "src", "kuma", "envoy_api")):
            self.app.display_info("generated kuma.envoy_api from the pinned Envoy")

"""A bootstrap as text, and the answer that carries it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from google.protobuf.json_format import MessageToDict

from kuma.envoy_api.envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap

_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]  # the base is libyaml's where that is installed
    """Every text in quotes: Envoy's YAML reader takes a bare ``1e3`` for a number where PyYAML sees a name."""


_Dumper.add_representer(OrderedDict, _Dumper.represent_dict)  # protobuf's form of an ``Any``
_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def to_yaml(bootstrap: Bootstrap) -> str:
    """The text Envoy starts with; keys in order, so equal bootstraps give equal texts."""
    data = MessageToDict(bootstrap)
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=2**20))


def response(
    text: str,
    address: str,
    aggregate: Sequence[Mapping[str, Any]] = (),
    corefile_template: bytes | None = None,
) -> bytes:
    """
    The JSON answer to ``POST /bootstrap``.

    ``address`` is the proxy's networking address, empty for zone proxies; ``aggregate`` lists the application
    metrics that older mesh settings ask kuma-dp to collect.
    """
    answer = {
        "bootstrap": b64encode(text.encode()).decode(),
        "kumaSidecarConfiguration": {
            "networking": {
                "corefileTemplate": None if corefile_template is None else b64encode(corefile_template).decode(),
                "address": address,
            },
            "metrics": {"aggregate": [dict(item) for item in aggregate]},
        },
    }
    return json.dumps(answer, separators=(",", ":")).encode()

"""What the demo tells the programs, as the files a user would write.

All of it lies in the demo's directory, so that a newcomer can read, change and apply it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MESH: Final = "default"

CONTROL_PLANE: Final = """\
# All on the loopback address or on ports of this demo only.
general:
  workDir: {work}
apiServer:
  http: {{interface: 127.0.0.1, port: {api}}}
  https: {{interface: 127.0.0.1, port: {https}}}
dpServer: {{port: {dp}}}
diagnostics: {{serverPort: {diagnostics}}}
interCp: {{server: {{port: {inter_cp}}}}}
monitoringAssignmentServer: {{enabled: false}}
xdsServer: {{dataplaneStatusFlushInterval: 1s}}
"""

MUTUAL_TLS: Final = """\
# Every call between services is encrypted, and both ends are known. Nothing is permitted by that.
type: Mesh
name: default
mtls:
  enabledBackend: ca-1
  backends:
    - name: ca-1
      type: builtin
"""

_PERMISSION: Final = """\
# {to} answers {source}, and nobody else.
type: MeshTrafficPermission
mesh: default
name: {source}-to-{to}
spec:
  targetRef:
    kind: Dataplane
    labels:
      app: {to}
  rules:
    - default:
        allow:
          - spiffeID:
              type: Exact
              value: spiffe://default/{source}
"""

TIMEOUT: Final = """\
# web gives the API half a second, and connects within one.
type: MeshTimeout
mesh: default
name: web-to-api
spec:
  targetRef:
    kind: Dataplane
    labels:
      app: web
  to:
    - targetRef:
        kind: MeshService
        name: api
      default:
        connectionTimeout: 1s
        http:
          requestTimeout: 500ms
"""

DENIAL: Final = """\
# A denial wins over every permission.
type: MeshTrafficPermission
mesh: default
name: deny-web-to-api
spec:
  targetRef:
    kind: Dataplane
    labels:
      app: api
  rules:
    - default:
        deny:
          - spiffeID:
              type: Exact
              value: spiffe://default/web
"""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a service with its proxy."""

    name: str
    service: str
    protocol: str
    application_port: int
    inbound_port: int
    admin_port: int
    readiness_port: int
    outbounds: tuple[tuple[str, int], ...] = ()
    """Services that it calls, each with the local port on which it does."""

    def dataplane(self) -> str:
        lines = [
            "type: Dataplane",
            f"mesh: {MESH}",
            f"name: {self.name}",
            "labels:",
            f"  app: {self.service}",
            "networking:",
            "  address: 127.0.0.1",
            f"  admin: {{port: {self.admin_port}}}",
            "  inbound:",
            f"    - port: {self.inbound_port}",
            f"      servicePort: {self.application_port}",
            "      serviceAddress: 127.0.0.1",
            "      tags:",
            f"        kuma.io/service: {self.service}",
            f"        kuma.io/protocol: {self.protocol}",
        ]
        if self.outbounds:
            lines.append("  outbound:")
        for service, port in self.outbounds:
            lines += [f"    - port: {port}", "      tags:", f"        kuma.io/service: {service}"]
        return "\n".join((*lines, ""))


@dataclass(frozen=True, slots=True)
class Layout:
    """Which port is whose; made from ports that are free."""

    api: int
    https: int
    dp: int
    diagnostics: int
    inter_cp: int
    instances: tuple[Instance, ...]

    NEEDED = 5 + 4 * 4 + 2

    @classmethod
    def of(cls, ports: Sequence[int]) -> Layout:
        free = iter(ports)
        api, https, dp, diagnostics, inter_cp, to_api, to_kv = (next(free) for _ in range(7))

        def instance(name: str, service: str, protocol: str, *outbounds: tuple[str, int]) -> Instance:
            application, inbound, admin, readiness = (next(free) for _ in range(4))
            return Instance(name, service, protocol, application, inbound, admin, readiness, outbounds)

        return cls(
            api,
            https,
            dp,
            diagnostics,
            inter_cp,
            (
                instance("web", "web", "http", ("api", to_api), ("kv", to_kv)),
                instance("api-1", "api", "http"),
                instance("api-2", "api", "http"),
                instance("kv", "kv", "tcp"),
            ),
        )

    @property
    def web(self) -> Instance:
        return self.instances[0]

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.web.application_port}/"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api}"

    def files(self, work: Path) -> dict[str, str]:
        """Texts by file name; what is below ``mesh`` is applied at the start, in this order."""
        return {
            "control-plane.yaml": CONTROL_PLANE.format(
                work=json.dumps(str(work)),
                api=self.api,
                https=self.https,
                dp=self.dp,
                diagnostics=self.diagnostics,
                inter_cp=self.inter_cp,
            ),
            "mesh/1-web-to-api.yaml": _PERMISSION.format(source="web", to="api"),
            "mesh/2-web-to-kv.yaml": _PERMISSION.format(source="web", to="kv"),
            "mesh/3-mutual-tls.yaml": MUTUAL_TLS,
            "timeout.yaml": TIMEOUT,
            "deny.yaml": DENIAL,
            **{f"{instance.name}.yaml": instance.dataplane() for instance in self.instances},
        }

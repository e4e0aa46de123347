"""
Whole legal meshes by chance: a Mesh, some Dataplanes, policies of all kinds that speak of them.

What is drawn is only proposed; the validators of the control plane decide, and parts that they refuse are left away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from kuma.core.errors import InvalidResource, Violation
from kuma.core.model.codec import decode_json
from kuma.core.model.resource import Key, Meta, Resource, definition
from kuma.core.policies import BY_KIND, POLICIES
from kuma.core.policies._kit.contract import Policy
from kuma.core.snapshot.mesh import Changes, MeshSettings, MeshSnapshot
from kuma.core.snapshot.plan import Planner, Traits
from kuma.core.units import one_spelling
from kuma.core.xds.generate import Generator
from kuma.core.xds.resources import Desired
from tests.policies.golden import MESSAGES, WORKDIR, changes_of, resource_of, traits_of
from tests.policies.values import Choice
from tests.policies.writer import Document, Writer, legal, repair

MESH: Final = "default"
_MODES: Final = (None, "PERMISSIVE", "STRICT")
_LONG: Final = "l" * 300

_SERVICES: Final[Choice] = (
    ("web", "backend", "api"),
    ("other", "odd:name.x", _LONG, "ads_cluster", "localhost:80", "kuma:x"),
)
_ADDRESSES: Final[Choice] = (
    ("10.0.0.1", "10.0.0.2", "192.168.7.7"),
    ("127.0.0.1", "fd00::a", "FD00:0:0:0:0:0:0:A", "::1", "::ffff:10.0.0.1", "0.0.0.0", "::"),
)
_INBOUND_PORTS: Final[Choice] = ((80, 8080, 9090), (1, 9901, 49_151, 65_535, 0))
_OUTBOUND_PORTS: Final[Choice] = ((10_001, 10_002, 10_003), (80, 9901, 65_535, 0))
_PROTOCOLS: Final[Choice] = (("http", "http", "http2", "grpc", "tcp"), ("kafka", "tls", "mysql", "HTTP", "udp"))
_LABELS: Final = ({"app": "web"}, {"app": "web", "tier": "a"}, {"kuma.io/zone": "z1"}, {"kuma.io/workload": "w"}, {})
_TAGS: Final = ({"version": "v1"}, {"version": "v2", "env": "e"}, {"kuma.io/zone": "z1"}, {"kuma.io/zone": "z2"}, {})
_ODD_TAGS: Final = ({"a/b:c.d": "E:f_g"}, {"version": "v" * 300}, {"big": "b" * 17_000}, {"": "x"}, {"x": "*"})
_POLICY_LABELS: Final = (
    *({}, {}, {}),
    {"kuma.io/effect": "shadow"},
    {"kuma.io/origin": "zone", "kuma.io/zone": "z1"},
    {"kuma.io/origin": "global"},
    {"kuma.io/policy-role": "consumer"},
    {"kuma.io/policy-role": "producer"},
    {"kuma.io/display-name": "a"},
)
_SIDECARS: Final = {"kind": "Mesh", "proxyTypes": ["Sidecar"]}
_NAMES: Final = ("c", "a", "z", "f.g-h", "b", "policy-" + "n" * 240, "e", "d")


@dataclass(frozen=True)
class LegalSet:
    """
    Resources that the control plane accepts, and what is known of the proxies: the header of a golden case.

    ``number`` is what ``legal_set`` made it of.
    """

    number: int
    documents: tuple[Document, ...]
    header: Mapping[str, Any]

    def resources(self) -> list[Resource[Any]]:
        """The documents as the control plane reads them."""
        return [resource_of(document) for document in self.documents]

    def changes(self, order: Sequence[int] = ()) -> Changes:
        """All of it at once, the documents in some order."""
        resources = self.resources()
        chosen = [resources[index] for index in order] if order else resources
        return changes_of(chosen, self.header["issued"], self.header["joining"])

    def traits(self, workdir: str = WORKDIR) -> Traits:
        """What every proxy is told to be; ``workdir`` is where its kuma-dp has its files."""
        rest = {name: value for name, value in self.header.items() if name not in {"issued", "joining"}}
        return replace(traits_of(rest), workdir=workdir)

    def desired(self, order: Sequence[int] = (), workdir: str = WORKDIR) -> dict[str, Desired]:
        """What every proxy gets, made from nothing, by a planner without memories."""
        mesh, planner = MeshSnapshot(MeshSettings(MESH)).apply(self.changes(order), 1), Planner(Generator())
        traits = self.traits(workdir)
        return {name: planner.plan(mesh, proxy, traits).desired() for name, proxy in sorted(mesh.proxies.items())}

    def case(self, proxy: str) -> str:
        """The set as a golden case."""
        header = {"proxy": proxy, **{name: value for name, value in self.header.items() if value not in ((), [])}}
        return yaml.safe_dump_all([header, *self.documents], sort_keys=False, width=120)


def turned(one: LegalSet) -> LegalSet:
    """The same set with the outbounds of proxies in the opposite order, where no two listen on one address."""
    return replace(one, documents=tuple(map(_turned, one.documents)))


def _turned(document: Document) -> Document:
    outbounds = document.get("networking", {}).get("outbound", [])
    places = {(one_spelling(one.get("address", "127.0.0.1")), one["port"]) for one in outbounds}
    if len(places) < len(outbounds):
        return document
    return (
        {**document, "networking": {**document["networking"], "outbound": outbounds[::-1]}} if outbounds else document
    )


def content(desired: Desired) -> dict[tuple[str, str], bytes]:
    """All resources of a proxy as bytes, by type and name."""
    return {(url, one.name): one.body for url in MESSAGES for one in desired.of_type(url)}


def drawn(count: int, number: int) -> list[LegalSet]:
    """Sets, always the same for a number, and others for every number."""
    found: list[LegalSet] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=[*HealthCheck],
    )
    @given(st.integers(number << 32, (number + 1 << 32) - 1).map(legal_set))
    def note(one: LegalSet) -> None:
        found.append(one)

    note()
    return found


def legal_set(number: int) -> LegalSet:
    """A whole mesh; always the same for a number."""
    writer = Writer(Random(number).randint, careful=True)
    writer.bold = writer.pick(0, 2, 4)  # in what is not a policy
    speaks = {writer.of(_SERVICES): writer.of(_PROTOCOLS) for _ in range(4)}
    writer.services = [*speaks]
    dataplanes = [one for index in range(writer.a(3) + 1) if (one := _dataplane(writer, index, speaks)) is not None]
    names = [one["name"] for one in dataplanes]
    policies = [*_policies(writer, names)]
    header = {
        "issued": [name for name in names if writer.coin(5)],
        "joining": [name for name in names if writer.coin(1)],
        "admin": writer.coin(5),
        "reusePort": writer.coin(5),
        "ipv6": writer.coin(8),
    }
    return LegalSet(number, (_mesh(writer), *dataplanes, *policies), header)


def _mesh(writer: Writer) -> Document:
    mode = writer.pick(*_MODES)
    backend = {"name": "ca", "type": "builtin", "mode": mode}
    mtls = {"mtls": {"enabledBackend": "ca", "backends": [backend]}} if mode else {}
    return {"type": "Mesh", "name": MESH, **mtls}


def _dataplane(writer: Writer, index: int, speaks: Mapping[str, str]) -> Document | None:
    networking: Document = {"address": writer.of(_ADDRESSES)}
    if writer.a(7) == 0:
        networking["gateway"] = {"tags": {"kuma.io/service": writer.pick(*speaks), **_more_tags(writer)}}
    else:
        networking["inbound"] = [_inbound(writer, speaks) for _ in range(writer.a(3))]
    networking["outbound"] = [_outbound(writer) for _ in range(writer.a(4) + 1)]
    if writer.a(5) == 0:
        networking["advertisedAddress"] = writer.of(_ADDRESSES)
    if writer.a(5) == 0:
        networking["admin"] = {"port": writer.of(_INBOUND_PORTS)}
    document = {
        "type": "Dataplane",
        "mesh": MESH,
        "name": f"proxy-{index}",
        "labels": writer.pick(*_LABELS),
        "networking": networking,
    }
    return repair(document, _faults)


def _faults(document: Document) -> list[Violation]:
    """What the control plane has against a Dataplane."""
    try:
        spec = decode_json("Dataplane", {"networking": document.get("networking")})
    except InvalidResource as error:
        return list(error.violations)
    meta = Meta(Key("Dataplane", MESH, document["name"]), document["labels"])
    return list(definition("Dataplane").validate(Resource(meta, spec)))


def _inbound(writer: Writer, speaks: Mapping[str, str]) -> Document:
    optional = {
        "servicePort": writer.of(_INBOUND_PORTS),
        "serviceAddress": writer.of(_ADDRESSES),
        "address": writer.of(_ADDRESSES),
        "name": writer.pick("main", "other"),
        "state": writer.pick("Ready", "NotReady", "Ignored"),
        "health": {"ready": writer.coin(5)},
        "serviceProbe": {"interval": "1s", "tcp": {}},
    }
    given = {name: value for name, value in optional.items() if writer.a(3) == 0}
    service = writer.pick(*speaks)
    said = {"kuma.io/protocol": speaks[service] if writer.coin(9) else writer.of(_PROTOCOLS)} if writer.coin(9) else {}
    return {
        "port": writer.of(_INBOUND_PORTS),
        "tags": {"kuma.io/service": service, **said, **_more_tags(writer)},
        **given,
    }


def _outbound(writer: Writer) -> Document:
    address = {"address": writer.of(_ADDRESSES)} if writer.a(3) == 0 else {}
    service = writer.pick(*writer.services)
    if writer.a(5) == 0:
        return {"port": writer.of(_OUTBOUND_PORTS), "service": service, **address}
    return {"port": writer.of(_OUTBOUND_PORTS), "tags": {"kuma.io/service": service, **_more_tags(writer)}, **address}


def _more_tags(writer: Writer) -> Mapping[str, str]:
    return writer.of((_TAGS, _ODD_TAGS))  # type: ignore[no-any-return]


def _policies(writer: Writer, proxies: Sequence[str]) -> Iterator[Document]:
    """From one to eight; often several of a kind, because they are merged."""
    favourite = writer.pick(*POLICIES)
    made = 0
    names = _NAMES[: writer.a(len(_NAMES) - 1) + 1]
    for name in names:
        policy = favourite if writer.coin(4) else writer.pick(*POLICIES)
        writer.bold, writer.talkative = writer.pick(0, 1, 2, 4), writer.pick(4, 7, 9, 9)
        spec = legal(policy, _written(writer, policy, proxies, names))
        if spec is not None:
            made += 1
            yield {
                "type": policy.kind,
                "mesh": MESH,
                "name": name,
                "labels": writer.pick(*_POLICY_LABELS),
                "spec": spec,
            }
    if not made:
        to = [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "5s"}}]
        yield {"type": BY_KIND["MeshTimeout"].kind, "mesh": MESH, "name": "a", "labels": {}, "spec": {"to": to}}


def _written(writer: Writer, policy: Policy, proxies: Sequence[str], routes: Sequence[str]) -> Document:
    """A spec with references to what there is."""
    spec = writer.policy(policy)
    only_sidecars = "targetRef" in spec
    for entry in spec.get("to", ()):
        if policy.destinations is None or writer.a(5) == 0:
            entry["targetRef"] = _destination(writer, routes)
    for entry in spec.get("from", ()):
        entry["targetRef"] = _source(writer)
    target = _proxies(writer, proxies, routes, inbound="from" in spec or "rules" in spec)
    if target is not None or not only_sidecars:
        spec["targetRef"] = _SIDECARS if only_sidecars and target and target["kind"] == "Mesh" else target
    return {name: value for name, value in spec.items() if value is not None}


def _proxies(writer: Writer, proxies: Sequence[str], routes: Sequence[str], *, inbound: bool) -> Document | None:
    """Which proxies a policy is for."""
    section = {"sectionName": writer.pick("main", "80", "8080", "none")} if inbound and writer.coin(3) else {}
    if writer.coin(5):
        return writer.pick(None, {"kind": "Mesh"}, {"kind": "Dataplane"})
    choice: Iterable[Document | None] = (
        {"kind": "Mesh", "proxyTypes": [writer.pick("Sidecar", "Gateway")]},
        {"kind": "Dataplane", **section},
        {"kind": "Dataplane", "name": writer.pick(*proxies, "nobody"), **section},
        {"kind": "Dataplane", "labels": {"app": "web"}, **section},
        {"kind": "MeshSubset", "tags": dict(writer.pick(*_TAGS))},
        {"kind": "MeshService", "name": writer.pick(*writer.services)},
        {"kind": "MeshServiceSubset", "name": writer.pick(*writer.services), "tags": {"version": "v1"}},
        {"kind": "MeshGateway", "name": "edge"},
        {"kind": "MeshHTTPRoute", "name": writer.pick(*routes)},
    )
    return writer.pick(*choice)


def _destination(writer: Writer, routes: Sequence[str]) -> Document:
    service = {"kind": "MeshService", "name": writer.pick(*writer.services)}
    if writer.coin(6):
        return writer.pick({"kind": "Mesh"}, service)
    return writer.pick(
        {**service, "sectionName": "main"},
        {"kind": "MeshService", "labels": {"app": "web"}},
        {"kind": "MeshExternalService", "name": "outside"},
        {"kind": "MeshMultiZoneService", "name": "everywhere"},
        {"kind": "MeshHTTPRoute", "name": writer.pick(*routes)},
    )


def _source(writer: Writer) -> Document:
    return writer.pick(
        {"kind": "Mesh"},
        {"kind": "Mesh"},
        {"kind": "MeshSubset", "tags": dict(writer.pick(*_TAGS, *_ODD_TAGS))},
        {"kind": "MeshService", "name": writer.pick(*writer.services)},
        {
            "kind": "MeshServiceSubset",
            "name": writer.pick(*writer.services),
            "tags": {"version": writer.pick("v1", "*")},
        },
    )

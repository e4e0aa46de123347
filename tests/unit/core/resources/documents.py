"""Documents as users write them, and strategies that make more of them."""

from typing import Any

from hypothesis import strategies as st

from kuma.core.model.resource import Definition, Key, Meta, Resource


def resource(definition: Definition, kind: str, spec: dict[str, Any], *, name: str = "one", labels=None) -> Resource:
    """A resource as the API would make it of a document."""
    mesh = "" if kind in {"Mesh", "GlobalSecret"} else "default"
    return Resource(Meta(Key(kind, mesh, name), labels=labels or {}), definition.spec.model_validate(spec))


def broken_rules(definition: Definition, kind: str, spec: dict[str, Any], **meta: Any) -> list[tuple[str, str]]:
    """Field and reason of everything that is wrong with a document, in the order reported."""
    found = definition.validate(resource(definition, kind, spec, **meta))
    return [(violation.field, violation.reason) for violation in found]


NAMES = st.text("abcxyz-09", min_size=1, max_size=6)
PORTS = st.integers(0, 70000)
TAGS = st.dictionaries(st.sampled_from(["kuma.io/service", "kuma.io/protocol", "version", "*"]), NAMES, max_size=3)
DURATIONS = st.sampled_from(["0s", "1h", "1m30s", "0.5s", "-2ms", "3600s", "1.000001s"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def nearly(names: list[str]) -> st.SearchStrategy[Any]:
    """JSON that uses the field names of a kind, with values of any type: what a careless writer sends."""
    leaves = st.none() | st.booleans() | st.integers(-5, 2**33) | st.floats() | st.text(max_size=6) | DURATIONS
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(names), inner, max_size=4),
        max_leaves=20,
    )


def field_names(spec: Any) -> list[str]:
    """Every field name of a spec and of the specs inside it, as written."""
    found: dict[str, None] = {"type": None}
    queue = [spec.model_json_schema(by_alias=True, mode="serialization")]
    while queue:
        schema = queue.pop()
        if isinstance(schema, dict):
            found.update(dict.fromkeys(schema.get("properties", {})))
            queue.extend(schema.values())
        elif isinstance(schema, list):
            queue.extend(schema)
    return sorted(found)


BACKENDS = st.lists(
    some(
        name=NAMES,
        type=st.sampled_from(["builtin", "provided", "file", "tcp", "zipkin", "datadog", "prometheus", "x"]),
        mode=st.sampled_from(["STRICT", "PERMISSIVE", 0, 1]),
        dpCert=some(rotation=some(expiration=st.sampled_from(["1d", "0", "x"])), requestTimeout=DURATIONS),
        rootChain=some(requestTimeout=DURATIONS),
        sampling=st.floats(-1, 101) | st.integers(0, 100),
        format=NAMES,
        conf=st.dictionaries(
            NAMES, st.recursive(st.none() | st.integers() | NAMES | st.floats(-9, 9), st.lists), max_size=3
        ),
    ),
    max_size=2,
)
MESHES = some(
    mtls=some(enabledBackend=NAMES, backends=BACKENDS, skipValidation=st.booleans()),
    logging=some(defaultBackend=NAMES, backends=BACKENDS),
    tracing=some(defaultBackend=NAMES, backends=BACKENDS),
    metrics=some(enabledBackend=NAMES, backends=BACKENDS),
    networking=some(outbound=some(passthrough=st.booleans() | st.none())),
    routing=some(localityAwareLoadBalancing=st.booleans(), zoneEgress=st.booleans()),
    constraints=some(dataplaneProxy=some(requirements=st.lists(some(tags=TAGS), max_size=2))),
    meshServices=some(mode=st.sampled_from(["Disabled", "Everywhere", "Exclusive", 2])),
    skipCreatingInitialPolicies=st.lists(NAMES, max_size=2),
)
INBOUNDS = some(
    port=PORTS | PORTS.map(str),
    servicePort=PORTS,
    address=NAMES,
    serviceAddress=NAMES,
    name=NAMES,
    protocol=NAMES,
    state=st.sampled_from(["Ready", "NotReady", "Ignored", 0, 1, 2]),
    health=some(ready=st.booleans()),
    tags=TAGS,
    serviceProbe=some(
        interval=DURATIONS, timeout=DURATIONS, unhealthyThreshold=PORTS, healthy_threshold=PORTS, tcp=some()
    ),
)
DATAPLANES = some(
    networking=some(
        address=NAMES,
        advertisedAddress=NAMES,
        inbound=st.lists(INBOUNDS, max_size=3),
        outbound=st.lists(
            some(
                port=PORTS,
                address=NAMES,
                tags=TAGS,
                service=NAMES,
                backendRef=some(kind=NAMES, name=NAMES, port=PORTS, labels=TAGS),
            ),
            max_size=2,
        ),
        gateway=some(type=st.sampled_from(["DELEGATED", "BUILTIN", 1]), tags=TAGS),
        transparent_proxying=some(
            redirectPortInbound=PORTS,
            redirect_port_outbound=PORTS,
            directAccessServices=st.lists(NAMES, max_size=2),
            ipFamilyMode=st.sampled_from(["DualStack", "IPv4", 3]),
            reachableBackends=some(refs=st.lists(some(kind=NAMES, port=PORTS, labels=TAGS), max_size=2)),
        ),
        listeners=st.lists(some(type=st.sampled_from(["ZoneEgress", 1]), port=PORTS, name=NAMES), max_size=2),
        admin=some(port=PORTS),
    ),
    metrics=some(type=st.just("prometheus"), name=NAMES, conf=some(port=PORTS, skipMTLS=st.booleans())),
    probes=some(port=PORTS, endpoints=st.lists(some(inboundPort=PORTS, path=NAMES), max_size=2)),
)

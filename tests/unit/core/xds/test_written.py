import json

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.xds.written import EnvoyTextInvalid, UnknownType, merge_into, parse_message, to_json, unpacked
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter

WASM = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm"


def test_types_are_found_when_they_are_named():
    """Whatever Envoy knows may stand in a typed config, and survives the way back."""
    made = parse_message(f"name: x\ntypedConfig: {{'@type': {WASM}, config: {{name: mine}}}}", Filter)

    assert to_json(made) == {"name": "x", "typedConfig": {"@type": WASM, "config": {"name": "mine"}}}
    assert unpacked(made.typed_config).config.name == "mine"


@pytest.mark.parametrize("name", ["envoy.No", "os.path", "kuma.core", "", "envoy..Cluster", "../x.Y"])
def test_other_types_are_refused(name):
    """Nothing but Envoy's API is ever loaded."""
    with pytest.raises(UnknownType):
        unpacked(AnyMessage(type_url=f"type.googleapis.com/{name}", value=b""))


def test_bytes_that_are_not_of_their_type_are_refused():
    """A patch never guesses."""
    with pytest.raises(EnvoyTextInvalid):
        unpacked(AnyMessage(type_url=WASM, value=b"\xff\xff"))


def test_maps_are_merged_by_key():
    """Options of several extensions stay side by side."""
    cluster = parse_message(f"typedExtensionProtocolOptions: {{a: {{'@type': {WASM}}}}}", Cluster)
    merge_into(cluster, parse_message(f"typedExtensionProtocolOptions: {{b: {{'@type': {WASM}}}}}", Cluster))
    merge_into(
        cluster,
        parse_message(f"typedExtensionProtocolOptions: {{a: {{'@type': {WASM}, config: {{name: mine}}}}}}", Cluster),
    )

    assert sorted(cluster.typed_extension_protocol_options) == ["a", "b"]
    assert unpacked(cluster.typed_extension_protocol_options["a"]).config.name == "mine"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "@type", "connectTimeout", "metadata", "transportSocket", "x"]), inner
            )
        ),
        max_leaves=10,
    )
)
def test_any_text_is_read_or_refused(data):
    """A user may write anything; the answer is a message or a reason."""
    try:
        outcome = parse_message(json.dumps(data), Cluster).DESCRIPTOR.name
    except EnvoyTextInvalid as refused:
        outcome = str(refused)

    assert outcome

"""A dump tells everything about a proxy, but how to be it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.errors import BadRequest
from kuma.core.xds.dump import HIDDEN, redacted

TOKEN = "aaa.bbb.ccc"


def dump(*metadata):
    """A dump as Envoy writes it."""
    service = {"envoy_grpc": {"cluster_name": "ads_cluster"}, "initial_metadata": list(metadata)}
    bootstrap = {"dynamic_resources": {"ads_config": {"api_type": "DELTA_GRPC", "grpc_services": [service]}}}
    return {"configs": [{"@type": "BootstrapConfigDump", "bootstrap": bootstrap}, {"static": {"value": "kept"}}]}


@pytest.mark.parametrize("indent", [None, 1])
def test_the_token_is_hidden_and_all_else_is_kept(indent):
    """Whether it is called authorization or anything else, and however it is written."""
    whole = dump({"key": "authorization", "value": TOKEN}, {"value": 'x]y"z\\', "key": "other"}, {"raw_value": "eA=="})

    shown = json.loads(redacted(json.dumps(whole, indent=indent).encode()))

    assert shown == dump(
        {"key": "authorization", "value": HIDDEN}, {"value": HIDDEN, "key": "other"}, {"raw_value": HIDDEN}
    )


def test_what_holds_no_metadata_stays_as_it_is():
    """To the byte."""
    for text in (b"", b"{}", b"not json", json.dumps(dump()).encode(), b'{"initial_metadata": '):
        assert redacted(text) == text


@given(st.lists(st.fixed_dictionaries({"key": st.text(max_size=8), "value": st.text(max_size=12)}), max_size=3))
def test_any_text_stays_json_and_loses_every_value(metadata):
    """Whatever characters headers hold."""
    for ascii_only in (True, False):
        text = json.dumps(dump(*metadata), ensure_ascii=ascii_only).encode(errors="surrogatepass")

        assert json.loads(redacted(text).decode(errors="surrogatepass")) == dump(
            *({"key": one["key"], "value": HIDDEN} for one in metadata)
        )


def test_a_proxy_cannot_keep_the_control_plane_busy():
    """What no Envoy of ours would send is refused, or passes quickly."""
    with pytest.raises(BadRequest, match="more than 10000 lists of headers"):
        redacted(b'"initial_metadata":[{"value":"x"}]' * 10_001)
    for text in (b'"initial_metadata":["', b'"initial_metadata":["\\', b'"initial_metadata":[', b"["):
        endless = text * 9_000

        assert redacted(endless) == endless

from datetime import UTC, datetime

import pytest

from kuma.core.model.kinds import BY_NAME, KINDS
from kuma.core.model.labels import kri
from kuma.core.model.resource import Definition, Key, Meta, Resource, definition
from kuma.core.model.spec import LegacySpec


def meta(**labels):
    """The metadata of a proxy with these labels."""
    return Meta(Key("Dataplane", "default", "web-1"), labels=labels)


def test_a_resource_knows_its_kind_and_names():
    """The name that people see is the display name, where there is one."""
    one = Resource(meta(), LegacySpec())
    assert one.kind is BY_NAME["Dataplane"]
    assert (one.meta.name, one.meta.mesh, one.meta.display_name) == ("web-1", "default", "web-1")
    assert meta(**{"kuma.io/display-name": "web"}).display_name == "web"


def test_a_resource_that_was_never_stored_says_so():
    """Version 0 is what optimistic locking takes for "does not exist yet"."""
    assert (meta().version, meta().revision, meta().created) == (0, 0, datetime(1970, 1, 1, tzinfo=UTC))
    assert Meta(Key("Mesh", "", "default")).labels == {}


def test_keys_sort_by_kind_mesh_and_name():
    """Lists come in one order everywhere."""
    assert min(Key("B", "a", "a"), Key("A", "b", "a"), Key("A", "a", "b")) == Key("A", "a", "b")


@pytest.mark.parametrize(
    "labels, section, text",
    [
        ({}, "", "kri_dp_default___web-1_"),
        ({"kuma.io/zone": "east"}, "8080", "kri_dp_default_east__web-1_8080"),
        (
            {"kuma.io/zone": "east", "k8s.kuma.io/namespace": "ns", "kuma.io/display-name": "web"},
            "http",
            "kri_dp_default_east_ns_web_http",
        ),
    ],
)
def test_a_kri_names_a_resource_everywhere(labels, section, text):
    """The identifier is the one Kuma prints."""
    assert kri("dp", meta(**labels), section) == text


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS if kind.policy is None])
def test_every_plain_kind_has_a_home(kind):
    """A kind in the registry can be read: its folder exists and declares what it is."""
    found = definition(kind)
    assert isinstance(found, Definition)
    assert issubclass(found.spec, LegacySpec)
    assert found is definition(kind)


def test_a_definition_that_says_nothing_accepts_everything():
    """Rules, warnings and completion are optional for a kind."""
    plain = Definition(LegacySpec)
    spec = LegacySpec()
    one = Resource(meta(), spec)
    assert list(plain.validate(one)) == []
    assert list(plain.warnings(one)) == []
    assert plain.complete(spec) is spec

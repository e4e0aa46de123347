"""Reading what a user wrote, in both forms."""

import pytest

from kuma.core.errors import BadRequest, InvalidResource
from kuma.core.model.document import differs_from_url, dropped, read
from kuma.core.model.kinds import BY_NAME
from tests.unit.cp.resources.user import dataplane, mesh, secret, timeout, told

TIMEOUT, DATAPLANE, MESH = BY_NAME["MeshTimeout"], BY_NAME["Dataplane"], BY_NAME["Mesh"]


def faults(kind, document):
    """What reading complains about."""
    with pytest.raises(InvalidResource) as caught:
        read(kind, document)
    return told(caught.value)


@pytest.mark.parametrize("document", [None, [], "text", 5])
def test_only_an_object_is_a_resource(document):
    """Anything else is not even a bad resource."""
    with pytest.raises(BadRequest, match='invalid Dataplane object: "a JSON object is expected"'):
        read(DATAPLANE, document)


def test_all_faults_of_the_form_are_told_at_once():
    """In the words of the schema for kinds with a spec, by field for the others."""
    assert faults(TIMEOUT, {"mesh": 5, "labels": [], "spec": []}) == [
        ("", "type in body is required"),
        ("", "mesh in body must be of type string"),
        ("", "name in body is required"),
        ("", "labels in body must be of type object"),
        ("", "spec in body must be of type object"),
    ]
    document = {"type": 1, "labels": {"a": 1}, "networking": {"address": 5}}
    assert faults(DATAPLANE, document) == [
        ("type", "in body must be of type string"),
        ('labels["a"]', "in body must be of type string"),
        ("networking.address", "in body must be of type string"),
    ]
    assert faults(TIMEOUT, {"type": "Timeout", "name": "t", "spec": {"to": 5}}) == [
        ("", "type in body should be one of [MeshTimeout]"),
        ("spec.to", "in body must be of type array"),
    ]
    assert faults(TIMEOUT, {"type": "MeshTimeout", "name": "t"}) == [("", "spec in body is required")]


def test_a_missing_mesh_is_the_default_one_for_kinds_with_a_spec_only():
    """As Kuma's schemas say; old-style kinds have to name theirs."""
    document = {key: value for key, value in timeout().items() if key != "mesh"}
    assert list(differs_from_url(TIMEOUT, "default", "t", read(TIMEOUT, document))) == []
    assert [found.field for found in differs_from_url(TIMEOUT, "other", "t", read(TIMEOUT, document))] == ["mesh"]

    document = {key: value for key, value in dataplane().items() if key != "mesh"}
    assert [found.field for found in differs_from_url(DATAPLANE, "default", "web-1", read(DATAPLANE, document))] == [
        "mesh"
    ]


def test_a_document_is_about_the_resource_its_url_names():
    """Name, type and mesh are compared, each with its own text."""
    parsed = read(DATAPLANE, dataplane() | {"type": "Mesh"})

    assert told(InvalidResource(differs_from_url(DATAPLANE, "m", "x", parsed))) == [
        ("name", "name from the URL has to be the same as in body"),
        ("type", "type from the URL has to be the same as in body"),
        ("mesh", "mesh from the URL has to be the same as in body"),
    ]


def test_what_the_api_itself_prints_can_be_sent_back():
    """Times, KRI, status and null labels are neither stored nor complained about."""
    printed = {"creationTime": "x", "modificationTime": "y", "kri": "z", "labels": None}

    assert not list(read(TIMEOUT, {**timeout(), **printed, "status": {}, "snis": []}).unknown())
    assert not list(read(DATAPLANE, {**dataplane(), **printed}).unknown())


def test_a_global_kind_has_no_mesh():
    """One that is written down is dropped, and named unless empty."""
    assert not list(read(MESH, {**mesh(), "mesh": ""}).unknown())
    assert list(read(MESH, {**mesh(), "mesh": "x"}).unknown()) == ["mesh"]


def test_a_flood_of_unknown_fields_is_summed_up():
    """The answer stays readable."""
    flood = {f"f{number}": 1 for number in range(30)}
    sentences = list(dropped(read(DATAPLANE, {**dataplane(), **flood, "x" * 1000: 1})))

    assert len(sentences) == 21
    assert sentences[-1] == "11 more fields are not known and were ignored"
    [sentence] = dropped(read(DATAPLANE, {**dataplane(), "x" * 1000: 1}))
    assert len(sentence) < 300


@pytest.mark.parametrize("misplaced", [{"spec": {"data": "dGVzdA=="}}, {"Data": "dGVzdA=="}])
def test_a_secret_with_its_value_in_the_wrong_place_is_refused(misplaced):
    """It would be stored empty: a list that revokes nothing, a key that signs nothing."""
    document = secret("s") | misplaced
    del document["data"]

    with pytest.raises(InvalidResource) as caught:
        read(BY_NAME["Secret"], document)
    reason = 'is not known; the value of a secret belongs into "data" at the top, in base64'
    assert told(caught.value) == [(next(iter(misplaced)), reason)]

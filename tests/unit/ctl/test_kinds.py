"""The words of the command line come from the registry of kinds."""

import pytest

from kuma.core.model.kinds import BY_NAME, KINDS
from kuma.ctl.kinds import MANY, ONE, collection_path, item_path, kind_called, words


def test_every_kind_has_words_of_its_own():
    """No word means two kinds, and none means both one object and a list."""
    ones = [word for kind in KINDS for word in words(kind)[0]]
    assert len(ones) == len(set(ones)) == len(ONE)
    assert not set(MANY) & set(ONE)
    assert {kind.name for kind in MANY.values()} == {kind.name for kind in KINDS if kind.on_command_line}


def test_a_second_plural_has_a_second_singular():
    """Both spellings that Kuma's users know."""
    assert words(BY_NAME["GlobalSecret"]) == (("globalsecret", "global-secret"), ("globalsecrets", "global-secrets"))


def test_paths_follow_the_scope():
    """A mesh only where the kind has one."""
    assert collection_path(BY_NAME["Mesh"], "demo") == "/meshes"
    assert item_path(BY_NAME["Dataplane"], "demo", "a/b") == "/meshes/demo/dataplanes/a%2Fb"


@pytest.mark.parametrize(
    "word, name",
    [
        ("MeshTimeout", "MeshTimeout"),
        ("meshtimeout", "MeshTimeout"),
        ("MESHTIMEOUTS", "MeshTimeout"),
        ("mesh", "Mesh"),
        ("global-secret", "GlobalSecret"),
        ("GlobalSecret", "GlobalSecret"),
        ("mesh-insight", "MeshInsight"),
    ],
)
def test_a_kind_is_known_by_every_word_for_it(word, name):
    """As a list shows it and as a document has it, in any case."""
    assert kind_called(word) is BY_NAME[name]
    assert kind_called(f"{word}x") is None

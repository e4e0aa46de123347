import pytest

from kuma.core.model.kinds import BY_NAME, BY_PATH, KINDS, KNOWN_ELSEWHERE, Form, Scope


def test_no_two_kinds_share_a_name_a_path_or_a_short_name():
    """A URL, a word on the command line and a KRI each mean one kind."""
    assert len(BY_NAME) == len(KINDS)
    assert len(BY_PATH) == len(KINDS) + sum(bool(kind.alternative_path) for kind in KINDS)
    short = [kind.short_name for kind in KINDS if kind.short_name]
    assert len(set(short)) == len(short)
    words = [word for kind in KINDS if kind.on_command_line for word in kind.words]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    "name, scope, form, path, words, short",
    [
        ("Mesh", Scope.GLOBAL, Form.LEGACY, "meshes", ("mesh", "meshes"), "m"),
        ("Dataplane", Scope.MESH, Form.LEGACY, "dataplanes", ("dataplane", "dataplanes"), "dp"),
        ("Secret", Scope.MESH, Form.LEGACY, "secrets", ("secret", "secrets"), ""),
        ("GlobalSecret", Scope.GLOBAL, Form.LEGACY, "globalsecrets", ("globalsecret", "globalsecrets"), ""),
        ("MeshInsight", Scope.GLOBAL, Form.LEGACY, "mesh-insights", ("mesh-insight", "mesh-insights"), ""),
        ("MeshTimeout", Scope.MESH, Form.PLUGIN, "meshtimeouts", ("meshtimeout", "meshtimeouts"), "mt"),
        ("MeshRetry", Scope.MESH, Form.PLUGIN, "meshretries", ("meshretry", "meshretries"), "mr"),
    ],
)
def test_kinds_are_found_where_kuma_has_them(name, scope, form, path, words, short):
    """Paths and command words are those that scripts use."""
    kind = BY_NAME[name]
    assert (kind.scope, kind.form, kind.path, kind.words, kind.short_name) == (scope, form, path, words, short)
    assert BY_PATH[path] is kind


def test_global_secrets_answer_under_both_paths():
    """Kuma serves them with and without the dash."""
    assert BY_PATH["global-secrets"] is BY_PATH["globalsecrets"]


@pytest.mark.parametrize(
    "name, singular, plural",
    [
        ("MeshTimeout", "Mesh Timeout", "Mesh Timeouts"),
        ("MeshRetry", "Mesh Retry", "Mesh Retries"),
        ("GlobalSecret", "Global Secret", "Global Secrets"),
        ("MeshTrafficPermission", "Mesh Traffic Permission", "Mesh Traffic Permissions"),
    ],
)
def test_display_names_are_words(name, singular, plural):
    """What the GUI shows is readable."""
    assert (BY_NAME[name].singular_display_name, BY_NAME[name].plural_display_name) == (singular, plural)


def test_a_kind_is_either_served_or_known_elsewhere():
    """A reference is warned about only while its kind is not served."""
    assert not KNOWN_ELSEWHERE & BY_NAME.keys()

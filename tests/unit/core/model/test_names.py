"""Names of resources and labels."""

import pytest

from kuma.core.errors import Violation
from kuma.core.model.names import labels, resource_name


@pytest.mark.parametrize("name", ["a", "web-1", "a.b-c.d", "0", "x" * 253])
def test_dns_names_are_good_names(name):
    """What a cluster would take too."""
    assert list(resource_name(name)) == []


@pytest.mark.parametrize(
    "name, reason",
    [
        ("", "cannot be empty"),
        ("x" * 254, "value length must less or equal 253"),
        *((name, "invalid characters") for name in ("A", "a_b", "-a", "a-", "a..b", ".a", "a\n", "ä", "a/b", "\ud800")),
    ],
)
def test_other_names_are_refused(name, reason):
    """With the rule they break."""
    [violation] = resource_name(name)

    assert violation.field == "name"
    assert violation.reason.startswith(reason)


@pytest.mark.parametrize(
    "key, value",
    [("team", "a"), ("a.b/c_D.e", "A_b.c-D"), ("x" * 63, "x" * 63), (f"{'x' * 253}/a", ""), ("kuma.io/x", "1")],
)
def test_labels_of_kubernetes_are_good_labels(key, value):
    """Keys with or without a prefix, values also empty."""
    assert list(labels({key: value})) == []


@pytest.mark.parametrize(
    "key, value, reason",
    [
        ("", "a", "name part must be non-empty"),
        ("a/", "a", "name part must be non-empty"),
        ("x" * 64, "a", "name part must be no more than 63 characters"),
        ("-a", "a", "name part must consist of"),
        ("a\n", "a", "name part must consist of"),
        ("/a", "a", "prefix part must be a DNS subdomain"),
        ("A/a", "a", "prefix part must be a DNS subdomain"),
        ("a/b/c", "a", "prefix part must be a DNS subdomain"),
        ("a", "x" * 64, "value must be no more than 63 characters"),
        ("a", "a b", "value must consist of"),
        ("a", "a\n", "value must consist of"),
        ("a", "-", "value must consist of"),
    ],
)
def test_other_labels_are_refused(key, value, reason):
    """At the key they stand under."""
    [violation] = labels({key: value})

    assert violation.field == f'labels["{key}"]'
    assert violation.reason.startswith(reason)


def test_labels_have_a_limit():
    """Told once, not once per label."""
    assert list(labels({f"l{number}": "-" for number in range(1001)})) == [
        Violation("labels", "must not be more than 1000")
    ]

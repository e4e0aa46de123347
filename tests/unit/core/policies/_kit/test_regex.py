import pytest

from kuma.core.errors import Violation
from kuma.core.policies._kit.regex import regex_violations


@pytest.mark.parametrize("text", [".*", "a|b", "(?i)x", "é+", "^/v[0-9]+$"])
def test_what_envoy_understands_is_accepted(text):
    """The check is made by the library that Envoy uses."""
    assert list(regex_violations(text, "f")) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x(", "must be a valid regular expression (RE2): missing ): x("),
        ("(?=x)", "must be a valid regular expression (RE2): invalid perl operator: (?="),
        (r"(a)\1", r"must be a valid regular expression (RE2): invalid escape sequence: \1"),
        ("", "must be defined"),
        (None, "must be defined"),
    ],
)
def test_what_envoy_does_not_understand_is_refused(text, reason):
    """In the library's own words."""
    assert list(regex_violations(text, "f")) == [Violation("f", reason)]


def test_text_that_is_no_unicode_is_refused():
    """Half a character is a fault of the user, not ours."""
    [found] = regex_violations("\ud800", "f")

    assert found.reason.startswith("must be a valid regular expression")

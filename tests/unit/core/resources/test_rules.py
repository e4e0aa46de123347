import pytest

from kuma.core.resources import _rules


@pytest.mark.parametrize(
    "text, valid",
    [
        ("collector:5000", True),
        ("10.0.0.1:80", True),
        ("[::1]:80", True),
        (":80", True),
        ("collector", False),
        ("::1:80", False),
        ("collector:", False),
        ("collector:99999", False),
        ("collector:²", False),
        ("", False),
    ],
)
def test_host_and_port(text, valid):
    """An address of a collector names a host and a port that exist."""
    assert _rules.is_host_port(text) is valid


@pytest.mark.parametrize("text, valid", [("/", True), ("/a%20b?c=d", True), ("a", False), ("", False), ("/a b", False), ("/%z", False)])  # fmt: skip  # noqa: E501
def test_url_path(text, valid):
    """A probe path is what may stand in a request line."""
    assert _rules.is_url_path(text) is valid


@pytest.mark.parametrize("text", ["", "x", "http://", "http://h:port", "http://h:99999", "http://[::1", "http://a b:1"])
def test_what_is_not_a_url_is_refused(text):
    """No text makes the URL rule crash."""
    with pytest.raises(ValueError, match=r"."):
        _rules.url_port(text)


@pytest.mark.parametrize(
    "text, valid",
    [("web", True), ("web-1", True), ("1web", False), ("Web", False), ("web-", False), ("a" * 64, False), ("", False)],
)
def test_rfc_1035_labels(text, valid):
    """A DNS label starts with a letter and has at most 63 characters."""
    assert _rules.is_rfc1035(text) is valid


def test_each_bad_tag_is_named():
    """A tag that breaks a rule is reported at its own key."""
    found = {(v.field, v.reason) for v in _rules.tags("tags", {"": "v", "a b": "v", "empty": "", "bad": "a/b"})}
    assert found == {
        ("tags", "tag name must be non-empty"),
        ('tags["a b"]', "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores"),
        ('tags["empty"]', "tag value must be non-empty"),
        ('tags["bad"]', "tag value must consist of alphanumeric characters, dots, dashes and underscores"),
    }


def test_selectors_take_a_star_and_slashes():
    """A selector may say "any value", but only as a star of its own."""
    assert list(_rules.selector("tags", {"a": "*", "b": "x/y"})) == []
    assert [(v.field, v.reason) for v in _rules.selector("tags", {"a": "x*"})] == [
        (
            'tags["a"]',
            'tag value must consist of alphanumeric characters, dots, dashes, slashes and underscores or be "*"',
        )
    ]
    assert [v.reason for v in _rules.selector("tags", {})] == ["must have at least one tag"]

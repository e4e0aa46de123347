import re2
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.policies._kit.rules import TagMatch
from kuma.core.xds.source_tags import header_value, source_matchers

WORDS = st.text("ab.-_:/", min_size=1, max_size=3)


def _holds(tag, text):
    [matcher] = source_matchers([tag])
    found = re2.fullmatch(matcher.string_match.safe_regex.regex, text) is not None
    return found != matcher.invert_match


def test_the_header_is_the_one_kuma_writes():
    """Every tag with all its values, sorted."""
    assert header_value({"version": ["1"], "kuma.io/service": ["web", "api"]}) == "&kuma.io/service=api,web&&version=1&"


def test_the_header_is_never_longer_than_envoy_writes():
    """Tags for which there is no room are left out; the others are told."""
    assert header_value({"a": ["1"], "b": ["x" * 16_384], "c": ["2"]}) == "&a=1&&c=2&"


@given(tags=st.dictionaries(WORDS, st.lists(WORDS, min_size=1, max_size=3), max_size=3), key=WORDS, value=WORDS)
def test_a_source_is_recognised_by_exactly_its_tags(tags, key, value):
    """A value is found whole, wherever it stands; a negated tag holds for all others."""
    text = header_value(tags)

    assert _holds(TagMatch(key, value), text) == (value in tags.get(key, ()))
    assert _holds(TagMatch(key, value, negated=True), text) == (value not in tags.get(key, ()))
    assert _holds(TagMatch(key, "*"), text) == (key in tags)

"""List and pair flags read what Kuma's read."""

import click
import pytest

from kuma.ctl.flags import split_list, split_pairs

OPTION = click.Option(["-v", "--var"])
CONTEXT = click.Context(click.Command("x"))


@pytest.mark.parametrize(
    "given, pairs",
    [
        ((), {}),
        (("a=1",), {"a": "1"}),
        (("a=1", "b=2"), {"a": "1", "b": "2"}),
        (("a=1,b=2",), {"a": "1", "b": "2"}),
        (("a=1,2",), {"a": "1,2"}),
        (('"a=1,2",b=3',), {"a": "1,2", "b": "3"}),
        (("a=",), {"a": ""}),
        (("a=b=c",), {"a": "b=c"}),
        (("a=1", "a=2"), {"a": "2"}),
    ],
)
def test_pairs_are_repeated_or_comma_separated(given, pairs):
    """With a single ``=`` commas belong to the value."""
    assert split_pairs(CONTEXT, OPTION, given) == pairs


@pytest.mark.parametrize("given", ["a", "a,b"])
def test_a_pair_without_a_value_is_refused(given):
    """The flag is named."""
    with pytest.raises(click.BadParameter, match="must be formatted as key=value: --var key=value"):
        split_pairs(CONTEXT, OPTION, (given,))


def test_lists_are_repeated_or_comma_separated():
    """In the order given; quotes keep a comma."""
    assert split_list(CONTEXT, OPTION, ("a,b", "c", '"d,e"')) == ("a", "b", "c", "d,e")
    assert split_list(CONTEXT, OPTION, ()) == ()

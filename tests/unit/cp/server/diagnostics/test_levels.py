import logging

import pytest

from kuma.core.errors import BadRequest
from kuma.cp.server.diagnostics.levels import MOST_OVERRIDES, LogLevels, TooManyOverrides


@pytest.mark.parametrize(
    "component, level, written",
    [
        ("xds", logging.DEBUG, True),
        ("xds.delta", logging.DEBUG, True),
        ("xdsx", logging.DEBUG, False),
        ("api-server", logging.INFO, True),
        ("noisy", logging.ERROR, False),
    ],
)
def test_a_component_follows_its_own_level_or_its_parents(component, level, written):
    """Without either the general level holds."""
    levels = LogLevels()
    levels.put("xds", "debug")
    levels.put("noisy", "off")

    assert levels.allows(component, level, logging.INFO) is written


def test_resetting_tells_what_there_was():
    """One or all."""
    levels = LogLevels()
    levels.put("xds", "debug")
    levels.put("api", "off")

    assert levels.reset("xds")
    assert not levels.reset("xds")
    assert levels.reset_all() == {"api": "off"}
    assert levels.overrides == {}


@pytest.mark.parametrize("component, level", [("xds", "loud"), ("", "debug"), ("a b", "debug"), ("x" * 200, "debug")])
def test_nonsense_is_refused(component, level):
    """Unknown level, or no name."""
    with pytest.raises(BadRequest):
        LogLevels().put(component, level)


def test_the_number_of_overrides_is_limited():
    """A known component can still be changed."""
    levels = LogLevels()
    for number in range(MOST_OVERRIDES):
        levels.put(f"c{number}", "debug")

    with pytest.raises(TooManyOverrides):
        levels.put("one-more", "debug")
    levels.put("c0", "off")

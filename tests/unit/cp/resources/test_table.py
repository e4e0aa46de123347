"""Kinds with rules of their own."""

from kuma.core.model.kinds import BY_NAME
from kuma.cp.resources.table import RULES


def test_rules_are_for_kinds_that_users_write():
    """A name that is not in the registry would be a rule that never holds."""
    assert RULES.keys() <= {name for name, kind in BY_NAME.items() if not kind.read_only}

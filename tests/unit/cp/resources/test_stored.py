"""Reading what is stored."""

import pytest

from kuma.core.errors import InvalidResource
from kuma.core.model.resource import Key
from kuma.cp.resources.stored import read, readable
from kuma.cp.store.port import Record

GOOD = Record(Key("GlobalSecret", "", "s"), b'{"data":"dGVzdA=="}')
BAD = Record(Key("GlobalSecret", "", "s"), b'{"data":5}')


def test_a_text_that_fits_no_schema_is_reported_with_its_name():
    """Otherwise nobody could find the one broken resource in a list."""
    assert read(GOOD).spec.data == b"test"
    with pytest.raises(InvalidResource) as caught:
        read(BAD)
    assert caught.value.detail.startswith('GlobalSecret "s", as it is stored, cannot be read')
    assert [violation.field for violation in caught.value.violations] == ["data"]


def test_where_nothing_depends_on_it_it_counts_as_absent():
    """A write may then mend it."""
    assert readable(None) is readable(BAD) is None
    assert readable(GOOD) == read(GOOD)

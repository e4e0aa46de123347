from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from kuma.core.model.resource import Key, Meta
from kuma.cp.server.api.envelope import Shown, time_text, universal
from kuma.cp.store.port import Record

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "time, text",
    [
        (NOON, "2026-01-31T12:00:00Z"),
        (NOON.replace(microsecond=120_000), "2026-01-31T12:00:00.12Z"),
        (NOON.replace(microsecond=1), "2026-01-31T12:00:00.000001Z"),
        (datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))), "2026-01-31T12:00:00Z"),
    ],
)
def test_times_have_as_many_digits_as_needed(time, text):
    """As Go prints them, in UTC."""
    assert time_text(time) == text


def test_no_field_of_a_spec_can_take_the_place_of_metadata():
    """Whatever is stored."""
    meta = Meta(Key("Dataplane", "default", "web-1"), created=NOON, modified=NOON)

    body = universal(Shown(meta, {"name": "other", "networking": {}}))

    assert list(body) == ["type", "mesh", "name", "creationTime", "modificationTime", "kri", "networking"]
    assert body["name"] == "web-1"


def test_a_policy_with_a_status_says_it_also_when_none_is_stored():
    """Kuma writes it within seconds; here it is true at once. What is stored counts more."""
    spec = b'{"to":[{"targetRef":{"kind":"Mesh"},"default":{"backends":[]}}]}'
    record = Record(
        Key("MeshAccessLog", "default", "logs"), spec, {}, version=1, revision=1, created=NOON, modified=NOON
    )
    written = replace(record, status=b'{"conditions":[]}')

    [condition] = universal(Shown.stored(record))["status"]["conditions"]

    assert (condition["type"], condition["status"]) == ("BackendRefsResolved", "True")
    assert universal(Shown.stored(written))["status"] == {"conditions": []}

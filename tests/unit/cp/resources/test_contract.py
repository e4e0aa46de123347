"""What a kind without rules of its own gets."""

from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.resources.secret.spec import Secret
from kuma.cp.resources.contract import PLAIN, Prepared, Setting, Wanted
from kuma.cp.store.memory import MemoryStore
from tests.unit.cp.resources.user import NOW


async def test_a_kind_without_rules_is_stored_as_written():
    """Nothing is added, and nothing keeps it from being deleted."""
    setting = Setting(MemoryStore(), "default", "universal", unsafe_delete=False)
    resource = Resource(Meta(Key("GlobalSecret", "", "s")), Secret(data=b"x"))

    assert await PLAIN.prepare(setting, Wanted(resource, None, None, None, NOW)) == Prepared(resource.spec)
    assert await PLAIN.check_delete(setting, "", "s") is None
    assert PLAIN.users_part(resource.spec) is resource.spec
    assert PLAIN.labels(resource.spec) == {}

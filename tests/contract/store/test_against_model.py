"""Any sequence of batches leaves a store as a plain dict would have it."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from kuma.core.errors import Conflict, NotFound
from kuma.core.model.resource import Key
from kuma.cp.store.port import Delete, Operation, Put
from tests.contract.store.examples import ALICE, NOW

KEYS = [
    Key("Mesh", "", "m"),
    Key("Dataplane", "m", "d"),
    Key("Dataplane", "m", "e"),
    Key("DataplaneInsight", "m", "d"),
    Key("Secret", "m", "s"),
]
VERSIONS = st.sampled_from([None, None, None, 0, 1, 2])
PUTS = st.builds(
    Put,
    key=st.sampled_from(KEYS),
    spec=st.sampled_from([b"{}", b"[]", b'{"a": 1}']),
    labels=st.sampled_from([{}, {"a": "b"}]),
    status=st.sampled_from([None, b"{}"]),
    owner=st.sampled_from([None, None, *KEYS[:3]]),
    expected_version=VERSIONS,
    unlogged=st.booleans(),
)
DELETES = st.builds(Delete, key=st.sampled_from(KEYS), expected_version=VERSIONS, missing_ok=st.booleans())
BATCHES = st.lists(st.one_of(PUTS, PUTS, DELETES), max_size=6)


class Model:
    """What a store does, said in the plainest way: key -> (version, spec, labels, status, owner, unlogged)."""

    def __init__(self):
        self.records = {}
        self.revision = 0
        self.log = []

    def write(self, batch):
        """The refusal's class, or None; either all of the batch or nothing."""
        records, revision, log = dict(self.records), self.revision, list(self.log)
        for operation in batch:
            here = records.get(operation.key)
            if here is None and isinstance(operation, Delete):
                if operation.missing_ok:
                    continue
                return NotFound
            if operation.expected_version not in {None, here[0] if here else 0}:
                return Conflict
            if isinstance(operation, Delete):
                gone = self.family(records, operation.key)
                for key in gone:
                    revision += 1
                    if not records[key][5]:
                        log.append((revision, Operation.DELETE))
                records = {key: value for key, value in records.items() if key not in gone}
                continue
            content = (operation.spec, operation.labels, operation.status, operation.owner)
            if here and here[1:5] == content:
                continue
            if operation.owner and operation.owner not in records:
                if operation.unlogged:
                    continue
                return Conflict
            revision += 1
            if not operation.unlogged:
                log.append((revision, Operation.UPDATE if here else Operation.CREATE))
            unlogged = operation.unlogged and (here is None or here[5])
            records[operation.key] = (here[0] + 1 if here else 1, *content, unlogged)
        self.records, self.revision, self.log = records, revision, log
        return None

    @staticmethod
    def family(records, key):
        """The key and all it owns; which of them goes first matters here only for the log."""
        found = [key]
        for owner in found:
            found += [k for k in sorted(records) if records[k][4] == owner and k not in found]
        return list(reversed(found))


class Machine(RuleBasedStateMachine):
    implementation = None

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.model = Model()
        self.heard = {}
        self.open()

    def open(self):
        async def entered():
            stack = AsyncExitStack()
            store = await stack.enter_async_context(self.implementation.opened(Path(self.folder.name)))
            return stack, store, await stack.enter_async_context(store.subscribe())

        self.stack, self.store, self.changes = self.loop.run_until_complete(entered())

    def teardown(self):
        self.loop.run_until_complete(self.stack.aclose())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()

    @rule(batch=BATCHES)
    def write(self, batch):
        """The same refusal, or the same changes, told to the writer and to the subscriber alike."""
        before = self.model.revision
        refusal = self.model.write(batch)

        async def write():
            changes = await self.store.write(batch, author=ALICE, now=NOW)
            if changes:
                async with asyncio.timeout(10):
                    assert await anext(self.changes) == changes
            return changes

        if refusal:
            with pytest.raises(refusal):
                self.loop.run_until_complete(write())
            return
        changes = self.loop.run_until_complete(write())
        assert [c.revision for c in changes] == list(range(before + 1, self.model.revision + 1))
        for change in changes:
            assert self.heard.get(change.key) == change.before
            self.heard[change.key] = change.after

    @rule(keep=st.integers(0, 20))
    def trim(self, keep):
        """The newest entries stay."""
        trimmed = self.loop.run_until_complete(self.store.trim(now=NOW, max_age=timedelta(1), max_entries=keep))
        assert trimmed == max(len(self.model.log) - keep, 0)
        self.model.log = self.model.log[-keep:] if keep else []

    @precondition(lambda self: self.implementation.durable)
    @rule()
    def restart(self):
        """Nothing is different after it."""
        self.loop.run_until_complete(self.stack.aclose())
        self.open()

    @invariant()
    def same_as_the_model(self):
        """Contents, single records, lists and log."""
        contents, history = (
            self.loop.run_until_complete(self.store.contents()),
            self.loop.run_until_complete(self.store.history(limit=10_000)),
        )
        assert contents.revision == self.model.revision
        found = {r.key: (r.version, r.spec, r.labels, r.status, r.owner) for r in contents.records}
        assert found == {key: value[:5] for key, value in self.model.records.items()}
        assert {key: record for key, record in self.heard.items() if record} == {r.key: r for r in contents.records}
        assert [(change.revision, change.operation) for change in history] == self.model.log


async def test_a_store_behaves_as_a_dict_with_versions_owners_and_a_log(implementation):
    """Random batches, trims and restarts never part the store from its model."""
    machine = type("MachineOfOneStore", (Machine,), {"implementation": implementation})
    # In a thread, because each machine runs a loop of its own.
    await asyncio.to_thread(
        run_state_machine_as_test,
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

"""Local files against a model: a dictionary, and the order in which its entries were last used."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from perscache.entry import Entry, moment
from perscache.errors import CacheExpired, DamagedEntry, StorageError
from perscache.storage import LocalFileStorage
from perscache.storage.layout import Layout
from perscache.storage.usage import Usage

PATHS = [
    f"{function}/{number:x}{'0123456789abcdef' * 2}.{extension}"
    for function in ("f", "g")
    for number, extension in enumerate(["pickle", "json", "yaml", "csv"])
]
paths = st.sampled_from(PATHS)
instances = st.integers(0, 1)


BEGUN = 1_700_000_000


@dataclass
class Known:
    """What the model knows of an entry."""

    data: bytes
    created: float
    seconds: float | None = None
    arguments: str | None = ""
    """None where the journal was lost."""
    damage: str = ""
    """"rot" of some bits, or an "edit" by hand."""


class Model(RuleBasedStateMachine):
    """Two instances on one folder, as two processes would have them, and what must be in it, oldest use first."""

    def __init__(self) -> None:
        super().__init__()
        self.location = Path(tempfile.mkdtemp())
        self.known: dict[str, Known] = {}
        self.patch = pytest.MonkeyPatch()
        self.now = BEGUN + 1
        self.patch.setattr(time, "time", lambda: self.now)
        self.patch.setattr(time, "time_ns", lambda: int(self.now * 1e9))

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.location)

    @initialize(
        limit=st.sampled_from(
            [{}, {"max_entries": 3}, {"max_entries": 0}, {"max_size": 60}, {"max_size": 60, "max_entries": 5}]
        )
    )
    def begin(self, limit):
        self.limit = limit
        self.storages = [LocalFileStorage(self.location, **limit) for _ in range(2)]

    def tick(self) -> None:
        """Time goes on so fast that each use is noted: see `Eviction.look_at_clock`."""
        self.now += min((self.now - BEGUN + 7) // 8, 4000)

    def use(self, path: str) -> None:
        self.known[path] = self.known.pop(path)

    def forget(self, path: str) -> None:
        """What was there went, but an edit is still somewhere."""
        known = self.known.pop(path, None)
        if known is not None and known.damage == "edit":
            aside = (self.location / ".state" / "aside").glob(f"*/{path}")
            assert known.data in [file.read_bytes() for file in aside]

    # --- What callers do.

    @rule(calls=st.lists(st.tuples(paths, instances, st.sampled_from([None, 5, 12, 30])), max_size=10))
    def call(self, calls):
        """As functions do: look up, and store what is not there, or is to be new."""
        for path, which, size in calls:
            if size is None and path in self.known:
                self.load(path, which, None)
            else:
                self.store(path, which, size or 10, 0.25)

    @rule(path=paths, which=instances, size=st.integers(0, 70), seconds=st.sampled_from([None, 0.25, 2.0]))
    def store(self, path, which, size, seconds):
        self.tick()
        data = random.Random(self.now).randbytes(size)
        entry = Entry(path, moment(self.now), size, compute_time=seconds, arguments=f"x={self.now}", format="any")
        if size > self.limit.get("max_size", size) or self.limit.get("max_entries") == 0:
            with pytest.raises(StorageError, match="not stored"):
                self.storages[which].store(entry, data)
            return
        self.storages[which].store(entry, data)
        self.forget(path)
        while self.known and (
            len(self.known) >= self.limit.get("max_entries", 99)
            or sum(len(other.data) for other in self.known.values()) + size > self.limit.get("max_size", 9999)
        ):
            del self.known[next(iter(self.known))]
        self.known[path] = Known(data, self.now, seconds, entry.arguments)

    @rule(path=paths, which=instances, max_age=st.sampled_from([None, 0.5, 2.0]))
    def load(self, path, which, max_age):
        """``max_age`` as a part of the age."""
        self.tick()
        known = self.known.get(path)
        limit = None if max_age is None or known is None else max_age * (self.now - known.created)
        if known is None:
            with pytest.raises(FileNotFoundError):
                self.storages[which].load(path, max_age)
        elif max_age == 0.5:
            with pytest.raises(CacheExpired):
                self.storages[which].load(path, limit)
        elif known.damage:
            with pytest.raises(DamagedEntry):
                self.storages[which].load(path, limit)
            self.forget(path)
        else:
            stored = self.storages[which].load(path, limit)
            assert bytes(stored.data) == known.data
            assert stored.compute_time == known.seconds
            self.use(path)

    @rule(path=paths, which=instances)
    def delete(self, path, which):
        self.tick()
        assert self.storages[which].delete(path) == (path in self.known)
        self.forget(path)

    @rule(which=instances, function=st.sampled_from([None, "f", "g"]))
    def clear(self, which, function):
        """An edit outlives its entry."""
        self.tick()
        listed = len(list(self.storages[which].entries(function)))
        assert self.storages[which].clear(function) == listed
        for path, known in list(self.known.items()):
            if function in {None, path.partition("/")[0]}:
                known.arguments = None
                if known.damage != "edit":
                    del self.known[path]

    @rule(which=instances, part=st.sampled_from([None, 0.3, 0.9]))
    def prune(self, which, part):
        self.tick()
        max_age = None if part is None else part * (self.now - BEGUN)
        old = [
            path
            for path, known in self.known.items()
            if max_age is not None and self.now - known.created > max_age and known.damage != "edit"
        ]
        assert self.storages[which].prune(max_age) == len(old)
        for path in old:
            del self.known[path]
        if self.limit:
            counted = Usage(Layout(str(self.location), shared=False), needed=False).total()
            assert counted is not None
            assert counted.entries == len(self.known)
            assert counted.bytes == sum(len(known.data) for known in self.known.values())

    @rule(which=instances)
    def open_anew(self, which):
        self.storages[which] = LocalFileStorage(self.location, **self.limit)

    # --- What happens to files.

    @precondition(lambda self: self.known)
    @rule(choose=st.randoms(use_true_random=False))
    def rot(self, choose):
        """A bit flips, and no time of the file tells."""
        self.tick()
        path = choose.choice(list(self.known))
        file = self.location / path
        if self.known[path].damage or not file.stat().st_size:
            return
        times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
        with file.open("r+b") as out:
            position = choose.randrange(file.stat().st_size)
            out.seek(position)
            byte = out.read(1)[0]
            out.seek(position)
            out.write(bytes([byte ^ 1 << choose.randrange(8)]))
        os.utime(file, ns=times)
        self.known[path].damage = "rot"

    @precondition(lambda self: self.known and not self.limit)
    @rule(choose=st.randoms(use_true_random=False))
    def edit(self, choose):
        """By hand: others may then be counted than there are, so only where nothing is limited."""
        self.tick()
        path = choose.choice(list(self.known))
        known = self.known[path]
        known.data = b"edited %d" % int(self.now)
        (self.location / path).write_bytes(known.data)
        os.utime(self.location / path, (self.now, self.now))
        known.created, known.damage, known.seconds = self.now, "edit", None

    @precondition(lambda self: any(known.damage != "rot" for known in self.known.values()))
    @rule(choose=st.randoms(use_true_random=False), which=instances)
    def seal(self, choose, which):
        self.tick()
        path = choose.choice([path for path, known in self.known.items() if known.damage != "rot"])
        assert self.storages[which].seal(self.location / path) == path
        self.known[path].damage = ""
        self.known[path].created = self.now
        self.use(path)

    @rule(function=st.sampled_from(["f", "g"]))
    def lose_the_journal(self, function):
        with suppress(FileNotFoundError):
            (self.location / function / ".index.jsonl").unlink()
        for path, known in self.known.items():
            if path.startswith(function):
                known.arguments = None

    @rule(how=st.sampled_from(["deleted", "cut", "noise"]))
    def lose_the_counters(self, how):
        usage = self.location / ".state" / "usage"
        if not usage.exists():
            return
        match how:
            case "deleted":
                usage.unlink()
            case "cut":
                os.truncate(usage, 1000)
            case "noise":
                usage.write_bytes(random.Random(1).randbytes(8224))

    # --- What holds at all times.

    @invariant()
    def the_storage_holds_what_the_model_knows(self):
        storage = self.storages[0]
        listed = {entry.path: entry for entry in storage.entries()}
        assert listed.keys() <= self.known.keys()
        for path in PATHS:
            known, peeked = self.known.get(path), storage.peek(path)
            assert (peeked is None) == (known is None) == (not storage.holds(path))
            if known is None or peeked is None:
                continue
            assert peeked.created.timestamp() == pytest.approx(known.created, abs=0.001)
            if known.damage != "edit":
                assert listed[path] == peeked
                assert peeked.size == len(known.data)
            if known.arguments is not None:
                assert peeked.arguments == known.arguments
            if known.damage:
                with pytest.raises(DamagedEntry):
                    storage.inspect(path)
            else:
                assert storage.inspect(path) == (known.data, True)


def test_local_files_are_what_the_model_says():
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

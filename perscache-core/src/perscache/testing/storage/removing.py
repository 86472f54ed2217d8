"""What a storage promises of looking at entries, removing them, and its limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from ...errors import StorageError, Unsupported
from ...storage import Storage
from ...storage.remote import RemoteStorage
from ..expecting import raising
from .place import Async, Place, Sync, entry_at, name_of, path_in
from .reading import NAMES

OPTIONAL = {"lists": ("peek", "entries", "delete"), "prunes": ("prune",)}
"""What is declared, and the methods that it takes."""

BACKEND = {"conditional": "_put_if", "touches": "_touch"}
"""What a backend of `RemoteStorage` says of its server, and the method that it gives then."""


class Removing(Place):
    """Listings that forget nothing, removals that tell the truth."""

    def test_what_is_declared_is_what_the_class_has(self, open_storage: Callable[..., Storage]) -> None:
        storage = open_storage()
        tests, name = type(self).__name__, name_of(storage)
        for declared, methods in OPTIONAL.items():
            lacking = [method for method in methods if getattr(type(storage), method) is getattr(Storage, method)]
            if getattr(self, declared):
                assert not lacking, (
                    f"{tests} declares {declared} = True, and {name} has no {lacking[0]}(): give it the method, or "
                    f"declare {declared} = False"
                )
            else:
                assert lacking, (
                    f"{tests} declares {declared} = False, and {name} has {', '.join(methods)}(): leave the "
                    "declaration out, so that they are tested"
                )
        has_lock = storage.lock(path_in(storage)) is not None
        assert has_lock == self.locks, (
            f"{tests} declares locks = {self.locks}, and {name}.lock() gives {'a lock' if has_lock else 'None'}: "
            "give the lock that is promised, or declare what is so"
        )
        for flag, method in BACKEND.items():
            given = getattr(type(storage), method, None)
            assert not getattr(storage, flag, False) or given is not getattr(RemoteStorage, method), (
                f"{name}.{flag} is True, and it has no {method}(): give it the method, or leave {flag} out"
            )
        assert self.outlives or storage.private, (
            f"{tests} declares outlives = False, and {name}.private is False: a storage of which each process has "
            "its own says so by private = True"
        )

    def test_what_is_not_offered_is_said(self, storage: Storage) -> None:
        path = path_in(storage)
        storage.write(path, b"x")
        deeds: dict[str, Callable[[], object]] = {}
        if not self.lists:
            deeds |= {
                "peek": lambda: storage.peek(path),
                "entries": lambda: list(storage.entries()),
                "delete": lambda: storage.delete(path),
                "clear": storage.clear,
            }
        if not self.prunes:
            deeds["prune"] = storage.prune
        if not deeds:
            pytest.skip(f"{name_of(storage)} offers everything")
        for method, deed in deeds.items():
            with pytest.raises(Unsupported, match=f"{name_of(storage)} cannot"):
                deed()
            assert storage.read(path, None) == b"x", f"{name_of(storage)}.{method}() said that it cannot, and did it"

    # --- Looking.

    def test_an_entry_is_looked_at_without_its_value(self, storage: Storage) -> None:
        self.needs("lists")
        path, name = path_in(storage), name_of(storage)
        assert storage.peek(path) is None, f"{name}.peek() must give None for what is not there"
        before = datetime.now(UTC)
        stored = entry_at(path, b"hello", function="app.prices", arguments="day='Monday', ü=1", compute_time=2.5)

        storage.store(stored, b"hello")
        known = storage.peek(path)

        assert known is not None, f"{name}.peek() gave None for what was just stored: find it by the same path"
        assert (known.path, known.size) == (path, 5), (
            f"{name}.peek() gave the path {known.path!r} and {known.size} bytes: it must give {path!r}, as it was "
            "stored, and 5 bytes, without what the storage adds"
        )
        assert known.created.tzinfo is not None, f"{name}.peek() gave a naive time: entries have aware ones"
        slack = timedelta(seconds=2)
        assert before - slack <= known.created <= datetime.now(UTC) + slack, (
            f"{name}.peek() says that it was written at {known.created}: it was at {before}"
        )
        assert known.function == "app.prices", (
            f"{name}.peek() says that it is of the function {known.function!r}: it is of 'app.prices', as the entry "
            "said, and as the path tells where that is not kept"
        )
        if self.knows:
            kept = (known.arguments, known.compute_time)
            assert kept == ("day='Monday', ü=1", 2.5), (
                f"{name}.peek() gave {kept} for arguments and compute time: keep what the entry says with the bytes, "
                "non-ASCII text too, or declare knows = False"
            )

    def test_what_is_held_is_told_without_reading_it(self, storage: Storage) -> None:
        self.needs("lists")
        path = path_in(storage)
        assert not storage.holds(path), f"{name_of(storage)}.holds() said yes to what is not there"
        storage.write(path, b"x")
        time.sleep(0.2)
        assert storage.holds(path), f"{name_of(storage)}.holds() said no to what was just stored"
        assert storage.holds(path, 3600), f"{name_of(storage)}.holds() took 0.2 s for more than an hour"
        assert not storage.holds(path, 0.1), (
            f"{name_of(storage)}.holds(path, max_age) said yes to what is too old: it must agree with load()"
        )

    def test_entries_are_listed_by_function_or_all(self, storage: Storage) -> None:
        self.needs("lists")
        name = name_of(storage)
        assert list(storage.entries()) == [], f"{name}.entries() listed something in an empty place"
        ours = [path_in(storage, "f", number) for number in range(5)]
        others = [path_in(storage, "ff", number) for number in range(5)]
        for path in (*ours, *others):
            storage.write(path, b"x")
        _check_listing(storage, ours, "f")
        _check_listing(storage, [*ours, *others])
        _check_listing(storage, [], "nothing")
        sizes = {entry.size for entry in storage.entries()}
        assert sizes == {1}, (
            f"{name}.entries() gave the sizes {sizes} for values of one byte: give the value's own size"
        )

    def test_entries_of_awkward_names_are_listed_as_they_are(self, storage: Storage) -> None:
        self.needs("lists")
        paths = {function: path_in(storage, function) for function in NAMES}
        for path in paths.values():
            storage.write(path, b"x")
        _check_listing(storage, list(paths.values()))
        for function, path in paths.items():
            _check_listing(storage, [path], function)

    def test_entries_written_at_once_are_all_listed(self, open_storage: Callable[..., Storage]) -> None:
        self.needs("lists")
        several = [open_storage() for _ in range(4)]
        paths = [[path_in(several[0], f"f{n}", number) for number in range(5)] for n in range(len(several))]

        def write(storage: Storage, paths: list[str]) -> None:
            for path in paths:
                storage.write(path, b"x")

        with ThreadPoolExecutor(len(several)) as pool:
            list(pool.map(write, several, paths))
        _check_listing(several[0], [path for some in paths for path in some])

    # --- Removing.

    def test_deleting_says_whether_there_was_one(self, storage: Storage, via: Sync | Async) -> None:
        self.needs("lists")
        path, name = path_in(storage), name_of(storage)
        assert storage.delete(path) is False, f"{name}.delete() must give False where there is nothing to remove"
        storage.write(path, b"x")
        assert storage.delete(path) is True, f"{name}.delete() must give True when it removed an entry"
        with raising(
            FileNotFoundError, remedy=f"{name}.delete() said that the entry is gone, and {via}load() still finds it"
        ):
            via.load(storage, path)
        assert storage.delete(path) is False, f"{name}.delete() must give False for what it has removed already"
        _check_listing(storage, [])

    def test_clearing_one_function_leaves_the_others(self, storage: Storage) -> None:
        self.needs("lists")
        for function in ("f", "ff", "g"):
            for number in range(3):
                storage.write(path_in(storage, function, number), b"x")
        others = [path_in(storage, function, number) for function in ("ff", "g") for number in range(3)]
        steps: list[tuple[int, str | None, list[str]]] = [(3, "f", others), (6, None, []), (0, None, [])]
        for gone, only, left in steps:
            told = storage.clear(only)
            assert told == gone, (
                f"{name_of(storage)}.clear({only!r}) said that {told} entries went, of {gone} that there were: "
                "count what was removed, and remove what belongs to that function and nothing else"
            )
            _check_listing(storage, left)

    def test_pruning_removes_what_is_too_old(self, storage: Storage) -> None:
        self.needs("prunes")
        old, new = path_in(storage, number=1), path_in(storage, number=2)
        oldest = 1.0 + self.resolution
        told = 0
        for _ in range(3):
            storage.write(old, b"x")
            time.sleep(oldest + 0.1)
            begun = time.monotonic()
            storage.write(new, b"x")
            told = storage.prune(oldest)
            if time.monotonic() - begun < 1.0:
                break  # else the machine was so slow that the second had become too old as well
        said = f"{name_of(storage)}.prune({oldest})"
        assert told == 1, f"{said} said that {told} entries went: one of the two was older"
        with raising(FileNotFoundError, remedy=f"{said} left an entry that is older"):
            storage.read(old, None)
        assert storage.read(new, None) == b"x"
        assert storage.prune() == 0, f"{name_of(storage)}.prune() removes nothing where nothing is over a limit"

    def test_listeners_hear_of_removals(self, storage: Storage) -> None:
        self.needs("lists", "tells")
        heard: list[tuple[str, str]] = []
        storage.listeners = (lambda _, entry, reason: heard.append((entry.path, reason)),)
        first, second = path_in(storage, number=1), path_in(storage, number=2)
        storage.write(first, b"x")
        storage.write(second, b"x")

        storage.delete(first)
        storage.delete(first)
        storage.clear()

        expected = [(first, "invalidated")] * self.copies + [(second, "cleared")] * self.copies
        assert heard == expected, (
            f"{name_of(storage)} told its listeners {heard} where it should have told {expected}: call each of "
            "self.listeners with the storage, the entry and the reason, once for each entry that is removed; or "
            "declare tells = False"
        )

    # --- The limit.

    def test_a_limit_is_kept(self, open_storage: Callable[..., Storage]) -> None:
        self.needs("limits")
        storage = open_storage(max_size="10kB")
        name = name_of(storage)
        assert storage.max_size == 10_000, f"{name}.max_size is {storage.max_size!r}: it must be a number of bytes"
        for number in range(30):
            storage.write(path_in(storage, number=number), b"x" * 1000)
        storage.prune()
        left = sorted(entry.path for entry in storage.entries())
        assert 1 <= len(left) <= 10, (
            f"{name}(max_size=10_000) held {len(left)} entries of 1,000 bytes after prune(): remove as many as are over"
        )
        assert storage.read(path_in(storage, number=29), None) == b"x" * 1000
        with raising(FileNotFoundError, remedy=f"{name} removed newer entries to keep its limit, and not the oldest"):
            storage.read(path_in(storage, number=0), None)

    def test_what_is_larger_than_the_limit_is_not_stored_and_removes_nothing(
        self, open_storage: Callable[..., Storage]
    ) -> None:
        self.needs("limits")
        storage = open_storage(max_size=1000)
        storage.write(path_in(storage, number=1), b"x" * 900)
        with pytest.raises(StorageError, match="max_size"):
            storage.write(path_in(storage, number=2), b"x" * 1001)
        _check_listing(storage, [path_in(storage, number=1)])


def _check_listing(storage: Storage, expected: list[str], function: str | None = None) -> None:
    __tracebackhide__ = True
    listed = sorted(entry.path for entry in storage.entries(function))
    which = f"entries({function!r})" if function is not None else "entries()"
    forgotten = sorted(set(expected) - set(listed))
    assert not forgotten, (
        f"{name_of(storage)}.{which} forgets {forgotten[0]} and {len(forgotten) - 1} more of {len(expected)}: list "
        "what the place holds, whichever instance, thread or process wrote it"
    )
    added = sorted(set(listed) - set(expected))
    assert not added, f"{name_of(storage)}.{which} lists {added[0]}, which is no entry there: list only those"
    assert listed == sorted(expected), f"{name_of(storage)}.{which} lists an entry twice: {listed}"

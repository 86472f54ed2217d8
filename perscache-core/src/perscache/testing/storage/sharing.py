"""What a storage promises where several instances, threads and processes use one place."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from ... import Cache
from ...errors import CacheExpired, ConfigurationError
from ...storage import Storage
from ...storage.remote import RemoteStorage
from ..expecting import raising, shown
from ..processes import Child
from .place import Async, Place, Sync, name_of, path_in

CONTENDERS = 3


class Sharing(Place):
    """One place, several storages."""

    def test_another_instance_sees_writes_and_removals_at_once(
        self, open_storage: Callable[..., Storage], storage: Storage, via: Sync | Async
    ) -> None:
        other, path, name = open_storage(), path_in(storage), name_of(storage)
        with raising(FileNotFoundError, remedy=f"{name}: a new instance found something in an empty place"):
            via.load(other, path)
        for body in (b"first", b"second"):
            storage.write(path, body)
            try:
                seen = bytes(via.load(other, path).data)
            except FileNotFoundError as error:
                raise AssertionError(
                    f"{name}: another instance on the same place does not find what one wrote: keep nothing in the "
                    "instance that the place does not have"
                ) from error
            assert seen == body, (
                f"{name}: another instance gave {seen!r} after {body!r} was stored: what an instance remembers must "
                "not answer for the place"
            )
        if self.lists:
            assert [entry.path for entry in other.entries()] == [path], (
                f"{name}: another instance does not list what one wrote: list the place, not what the instance knows"
            )
            storage.delete(path)
            with raising(
                FileNotFoundError, remedy=f"{name}: another instance still gives what one removed: ask the place"
            ):
                via.load(other, path)
            assert list(other.entries()) == [], f"{name}: another instance still lists what one removed: ask the place"

    def test_another_instance_knows_when_it_was_written(
        self, open_storage: Callable[..., Storage], storage: Storage
    ) -> None:
        path = path_in(storage)
        storage.write(path, b"x")
        time.sleep(0.05)
        after = datetime.now(UTC)
        time.sleep(0.05)
        other = open_storage()
        assert other.read(path, None) == b"x"
        with raising(
            CacheExpired,
            remedy=f"{name_of(storage)}: for another instance an entry is younger than it is: keep the time of writing "
            "with the bytes, not in the instance",
        ):
            other.read(path, after)

    def test_instances_of_one_place_have_one_identity(
        self, open_storage: Callable[..., Storage], storage: Storage
    ) -> None:
        if type(storage).identity is Storage.identity:
            pytest.skip(f"{name_of(storage)} does not say its identity")
        ours, others = storage.identity, open_storage().identity
        assert ours == others, (
            f"{name_of(storage)}: two instances on one place have the identities {ours!r} and {others!r}: make it of "
            "where the entries are, and of nothing else"
        )

    def test_a_url_names_the_same_place(self, storage: Storage, url: str | None) -> None:
        url = self._url(storage, url)
        path = path_in(storage)
        storage.write(path, b"x")
        named = Cache(storage=url).storage
        assert named.identity == storage.identity, (
            f"{url} opens {named.identity}, and the fixture open_storage {storage.identity}: both must be one place"
        )
        assert named.read(path, None) == b"x"

    def test_an_option_that_is_none_is_refused(self, storage: Storage, url: str | None) -> None:
        url = self._url(storage, url)
        wrong = f"{url}{'&' if '?' in url else '?'}no_such_option=1"
        with raising(
            ConfigurationError,
            remedy=f"{name_of(storage)}.from_url() must raise ConfigurationError for an option that it does not have: "
            f"{wrong}. A typo would otherwise go unnoticed",
        ):
            Cache(storage=wrong)

    def _url(self, storage: Storage, url: str | None) -> str:
        if url is None:
            assert not storage.schemes, (
                f"{name_of(storage)} has the schemes {storage.schemes}: override the fixture url in "
                f"{type(self).__name__}, so that they are tested"
            )
            pytest.skip(f"{name_of(storage)} has no schemes")
        return url

    def test_a_pickled_copy_sees_the_same(self, storage: Storage) -> None:
        self.needs("outlives")
        path = path_in(storage)
        storage.write(path, b"x")
        try:
            copy = pickle.loads(pickle.dumps(storage))
        except Exception as error:
            raise AssertionError(
                f"{name_of(storage)} cannot be pickled after it was used ({type(error).__name__}: {error}), so no "
                "process pool can be given it: leave connections and locks out in __getstate__, and open them anew"
            ) from error
        assert copy.read(path, None) == b"x"
        copy.write(path, b"y")
        assert storage.read(path, None) == b"y", (
            f"{name_of(storage)}: what a pickled copy writes is not seen: a copy must be on the same place"
        )

    # --- Processes: one forked and one spawned, which cost a second or so.

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
    def test_a_forked_process_shares_the_place(self, storage: Storage) -> None:
        self.needs("outlives")
        if "fork" not in multiprocessing.get_all_start_methods():
            pytest.skip("this system has no fork")
        storage.write(path_in(storage), b"parent")
        assert storage.read(path_in(storage), None) == b"parent"
        remedy = (
            f"{name_of(storage)} was used, then the process was forked, and both went on using it: connections, "
            "threads and file positions must not be shared: open them anew where os.getpid() has changed"
        )
        with Child("fork", _tell_wrongs, storage) as child:
            for wrong in (*_wrongs(storage, "parent"), *child.told(self.patience, remedy)):
                pytest.fail(f"{remedy}. {wrong}")
        assert storage.read(path_in(storage, "child"), None) == b"child" * 1000, (
            f"{name_of(storage)}: what a forked process wrote is not there"
        )

    def test_another_process_shares_the_place_and_waits_for_its_turn(
        self, storage: Storage, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.needs("outlives")
        name = name_of(storage)
        path, answer, turn = (path_in(storage, number=number) for number in range(3))
        storage.write(path, b"parent")
        # A class of the test's own is imported by the name that pytest gave its module.
        monkeypatch.syspath_prepend(str(request.config.rootpath))
        lock = storage.lock(path) if self.locks else None
        if lock is not None:
            assert lock.acquire(()) is True, f"{name}.lock(): the first to ask must have it"
        try:
            with Child("spawn", _in_another_process, storage, path, answer, turn) as child:
                remedy = f"{name} in a process of its own: it must open what it needs from what is pickled"
                assert child.told(self.patience, remedy) == b"parent", (
                    f"{name}: another process does not see what this one wrote: keep it in the place"
                )
                assert storage.read(answer, None) == b"parent and child", (
                    f"{name}: what another process wrote is not seen here: keep it in the place"
                )
                if lock is None:
                    return
                time.sleep(0.3)
                with raising(
                    FileNotFoundError,
                    remedy=f"{name}: another process had the lock of an entry that is held here: a lock must hold "
                    "between processes (a file, a lease), not only between threads",
                ):
                    storage.read(turn, None)
                lock.release()
                lock = None
                remedy = f"{name}: another process must get the lock that was released here"
                assert child.told(self.patience, remedy) is True, remedy
        finally:
            if lock is not None:
                lock.release()

    # --- Locks.

    def test_one_at_a_time_holds_the_lock_of_an_entry(
        self, open_storage: Callable[..., Storage], via: Sync | Async
    ) -> None:
        self.needs("locks")
        several = [open_storage() for _ in range(CONTENDERS)]
        path, name = path_in(several[0]), name_of(several[0])
        ready = threading.Barrier(CONTENDERS)
        inside: list[int] = []
        most: list[int] = []
        until = time.monotonic() + self.patience

        def take_a_turn(number: int, storage: Storage) -> bool | None:
            lock = storage.lock(path)
            assert lock is not None
            ready.wait(self.patience)
            while (turn := via.acquire(lock)) is None:
                if time.monotonic() > until:
                    return None
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.1)
            inside.remove(number)
            lock.release()
            return turn

        with ThreadPoolExecutor(CONTENDERS) as pool:
            turns = list(pool.map(take_a_turn, range(CONTENDERS), several))
        assert turns == [True] * CONTENDERS, (
            f"{name}.lock(): of {CONTENDERS} who asked one after the other got {turns}: {via}acquire() must give True "
            "to each in the end, once the one before has released it"
        )
        assert max(most) == 1, (
            f"{name}.lock(): {max(most)} of {CONTENDERS} instances held the lock of one entry at the same time: look "
            "and take it in one step (exclusive creation, a condition on the write), not in two"
        )

    def test_a_create_has_one_winner(self, open_storage: Callable[..., Storage]) -> None:
        one = open_storage()
        if not isinstance(one, RemoteStorage) or not one.conditional:
            pytest.skip(f"{name_of(one)} writes on no condition")
        several = [one, *(open_storage() for _ in range(CONTENDERS))]
        ready = threading.Barrier(len(several))

        def create(storage: Any) -> str | None:
            name, data = storage._name(path_in(storage)), storage.identity.encode()
            ready.wait(self.patience)
            try:
                return str(storage._wait(partial(storage._put_if, name, data, None, 60.0)))
            except FileExistsError:
                return None

        with ThreadPoolExecutor(len(several)) as pool:
            winners = [generation for generation in pool.map(create, several) if generation is not None]
        assert len(winners) == 1, (
            f"{name_of(one)}._put_if(): {len(winners)} of {len(several)} who created one object at once were told that "
            "they had: the server must decide, by a condition on the write"
        )

    def test_a_replacement_has_one_winner(self, open_storage: Callable[..., Storage]) -> None:
        one: Any = open_storage()
        if not isinstance(one, RemoteStorage) or not one.conditional:
            pytest.skip(f"{name_of(one)} writes on no condition")
        several = [one, *(open_storage() for _ in range(CONTENDERS))]
        name, ready = one._name(path_in(one)), threading.Barrier(len(several))
        first = str(one._wait(partial(one._put_if, name, b"first", None, 60.0)))

        def replace(storage: Any) -> str | None:
            data = storage.identity.encode()
            ready.wait(self.patience)
            try:
                return str(storage._wait(partial(storage._put_if, name, data, first, 60.0)))
            except FileExistsError:
                return None

        with ThreadPoolExecutor(len(several)) as pool:
            winners = [generation for generation in pool.map(replace, several) if generation is not None]
        assert len(winners) == 1, (
            f"{name_of(one)}._put_if(): {len(winners)} of {len(several)} who replaced one generation of an object were "
            "told that they had: the server must decide, by a condition on the write"
        )
        assert winners != [first], f"{name_of(one)}._put_if(): a replacement must be of another generation"
        with raising(
            FileExistsError,
            remedy=f"{name_of(one)}._put_if(): an object that is gone is of no generation, so it cannot be replaced",
        ):
            one._wait(partial(one._put_if, one._name(path_in(one, "gone")), b"x", first, 60.0))


def _wrongs(storage: Storage, who: str) -> list[str]:
    """What goes wrong while this process and another use what was one storage."""
    common, own = path_in(storage), path_in(storage, who)
    for _ in range(20):
        storage.write(own, who.encode() * 1000)
        for path, stored in ((own, who.encode() * 1000), (common, b"parent")):
            if (seen := storage.read(path, None)) != stored:
                return [f"The {who} read {shown(seen)} where {shown(stored)} was stored"]
    return []


def _tell_wrongs(tell: Callable[[object], None], storage: Storage) -> None:
    tell(_wrongs(storage, "child"))


def _in_another_process(tell: Callable[[object], None], storage: Storage, path: str, answer: str, turn: str) -> None:
    seen = storage.read(path, None)
    storage.write(answer, seen + b" and child")
    lock = storage.lock(path)
    tell(seen)
    if lock is not None:
        while (had := lock.acquire(())) is None:
            continue
        storage.write(turn, b"child")
        lock.release()
        tell(had)

"""What storages on other machines share: how they are named, asked, doubted, left alone and swept.

A backend is a subclass with six methods, and one more for leases, under "The backend" below. What happens on a call is
written once, as generators that yield requests to the backend and are sent the answers, and is driven with threads or
with asyncio.
"""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, ClassVar, NamedTuple, NoReturn, Self, TypeAlias, TypeVar

from ..driver import adrive, drive
from ..entry import ACCEPTED, Entry, Stored, moment
from ..errors import CacheExpired, ConfigurationError, DamagedEntry, StorageError
from ..units import Duration, Size, seconds, size_in_bytes
from .base import CLOCK_SLACK, Lock, Storage
from .breaker import Breaker, Refused
from .lease import LEASES, LONGEST, SHORTEST, Lease, Leases
from .metadata import MARK, digest_of, to_entry, to_metadata
from .options import check, split_url
from .recency import Recency

__all__ = ["Found", "Listed", "Page", "Refused", "RemoteStorage", "Request", "check_folder"]

log = logging.getLogger("perscache")

S = TypeVar("S")
T = TypeVar("T")
Request: TypeAlias = Callable[[], Any]
Steps: TypeAlias = Generator[Request, Any, T]

SWEEP_TO = 0.9
"""The part of the limit that a sweep leaves in place, so that the next store does not need another one."""

SWEEP = "sweep"
"""The name of the lease under which one machine at a time sweeps."""

PARALLEL = 16
"""Removals, or looks at objects, under way at once."""


class Found(NamedTuple):
    """An object as a backend read it."""

    data: bytes
    created: float
    """When its body was written, in seconds since the epoch by the server's clock."""
    now: float
    """The server's clock at the answer."""
    metadata: Mapping[str, str]
    """The custom metadata, as far as the server sent it along."""
    generation: str = ""
    """What changes whenever the body is written again: a generation, an ETag. Leases need it."""
    touched: float | None = None
    """When body or metadata were last written; None where that is not known."""


class Listed(NamedTuple):
    """An object as a backend sees it without reading it."""

    name: str
    size: int
    created: float
    generation: str
    """What changes whenever the body is written again: a generation, an ETag."""
    metadata: Mapping[str, str]
    touched: float | None = None
    """When body or metadata were last written; None where that is not known."""

    def entry(self, path: str) -> Entry:
        """What is known of the entry ``path`` that it keeps."""
        return to_entry(path, self.size, self.created, self.metadata)


class Page(NamedTuple):
    """A part of a listing."""

    objects: list[Listed]
    next: str | None
    """What asks for the next page; None on the last."""
    now: float
    """The server's clock at the answer."""


class RemoteStorage(Storage):
    """A `Storage` of plain objects under a prefix of a bucket, with what is known of each in its custom metadata.

    ``timeout`` is how many seconds a call may wait for its server. After trouble the server is left alone for
    ``cooldown`` seconds, in which calls fail at once; then one is let through. With ``max_size``, one store in
    ``sweep_every`` is followed by a sweep in the background: over the limit, the oldest entries go, down to 90 %; with
    ``lru``, those that were not used for the longest time, as far as a day tells, where the server can keep that.
    One machine computes an entry at a time, by a lease of ``lease`` seconds, renewed as long as the computation takes;
    0 for none.

    Reading and writing raise StorageError where the server has trouble or refuses.
    """

    folders = True

    conditional: bool = False
    """Whether its server keeps conditions on writes, so that there can be leases; the backend then gives `_put_if`."""

    lists_metadata: bool = True
    """Whether a listing tells the metadata; else each object is asked for it that is named as ours are."""

    touches: bool = False
    """Whether metadata can be changed without making an object younger; the backend then gives `_touch`."""

    left_behind: ClassVar[tuple[str, ...]] = (LEASES,)
    """Folders of objects that are only there for a while: pruning removes those of machines that died."""

    url_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "max_size": str,
        "timeout": seconds,
        "cooldown": seconds,
        "sweep_every": int,
        "lease": seconds,
    }
    """What a URL's query may say, and how each text is read. Whose server `touches` adds ``lru``."""

    def __init__(
        self,
        location: str,
        max_size: Size | None = None,
        *,
        timeout: Duration = 5.0,
        cooldown: Duration = 30.0,
        sweep_every: int = 100,
        lease: Duration = 30.0,
        lru: bool = False,
    ) -> None:
        """A storage at ``location``, ``"bucket/folder"``. Nothing is imported or asked before the first call."""
        self.bucket, self.prefix = self._placed(location)
        self.max_size = None if max_size is None else size_in_bytes(max_size)
        self.timeout = seconds(timeout)
        self.cooldown = seconds(cooldown)
        self.sweep_every = sweep_every
        if not self.timeout:
            raise ConfigurationError(f"timeout={timeout!r} leaves {self} no time to answer: give seconds, such as 5")
        if sweep_every < 1:
            raise ConfigurationError(f"sweep_every={sweep_every!r} is no number of stores: give 1 or more")
        self.lease = seconds(lease)
        if self.lease and not SHORTEST <= self.lease <= LONGEST:
            raise ConfigurationError(
                f"lease={lease!r}: a lease takes {SHORTEST:g} to {LONGEST:g} seconds, such as 30; 0 for none"
            )
        self.lru = lru
        if lru and not self.touches:
            raise ConfigurationError(f"{type(self).__name__} cannot tell when an entry was used: leave lru out")
        self._live: dict[int, Live] = {}

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The storage at ``scheme://bucket/folder?option=value``; ``options`` are stronger than the query."""
        place, asked = cls._parsed(url)
        return cls(place, **(asked | options))

    @classmethod
    def _parsed(cls, url: str) -> tuple[str, dict[str, Any]]:
        """What stands between the scheme and the query, and the options that this holds."""
        place, query = split_url(url)
        check(cls.__name__, query, cls.url_options)
        try:
            return place, {name: cls.url_options[name](text) for name, text in query.items()}
        except ValueError as error:
            raise ConfigurationError(f"{url}: {error}") from error

    def _placed(self, location: str) -> tuple[str, str]:
        """The bucket, and the folder in it, of ``location``."""
        return _split(location, self.schemes)

    @property
    def url(self) -> str:
        """Where it is, ``scheme://bucket/folder``."""
        return f"{self.schemes[0]}://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def identity(self) -> str:
        """Its URL: two storages of one URL see the same entries."""
        return self.url

    def __repr__(self) -> str:
        """As it could be typed."""
        return f"{type(self).__name__}({self.url!r})"

    # --- Reading and writing.

    def read(self, path: str, deadline: datetime | None) -> bytes:
        """The bytes under ``path``; see `Storage.read`."""
        return bytes(self._run(self._reading(path, deadline=deadline)).data)

    def write(self, path: str, data: bytes) -> None:
        """Keep ``data`` under ``path``; see `Storage.write`."""
        self.store(Entry(path, moment(time.time()), len(data)), data)

    def load(self, path: str, max_age: float | None = None) -> Stored:
        """What is under ``path``, in one request; its age is judged by the server's clock."""
        return self._run(self._reading(path, max_age))

    def store(self, entry: Entry, data: bytes) -> None:
        """Keep ``data`` and what is known of it, in one request. StorageError for a value larger than ``max_size``."""
        self._run(self._writing(entry, data))

    async def aload(self, path: str, max_age: float | None = None) -> Stored:
        """`load` without holding up the event loop."""
        return await self._arun(self._reading(path, max_age))

    async def astore(self, entry: Entry, data: bytes) -> None:
        """`store` without holding up the event loop."""
        await self._arun(self._writing(entry, data))

    def _reading(self, path: str, max_age: float | None = None, deadline: datetime | None = None) -> Steps[Stored]:
        name = self._name(path)
        return self._guarded(self._now_live().reads, self._load_steps(path, name, max_age, deadline))

    def _load_steps(self, path: str, name: str, max_age: float | None, deadline: datetime | None) -> Steps[Stored]:
        try:
            found: Found = yield partial(self._get, name)
        except FileNotFoundError:
            return (yield from self._absent(path))
        if max_age is not None and not -CLOCK_SLACK <= found.now - found.created <= max_age:
            written = moment(found.created)
            raise CacheExpired(f"{self.url}/{path} was written at {written:%Y-%m-%d %H:%M:%S} UTC: too old")
        if deadline is not None and found.created < deadline.timestamp():
            raise CacheExpired(f"{self.url}/{path} was written before {deadline:%Y-%m-%d %H:%M:%S}: too old")
        if (digest := found.metadata.get("digest")) and digest != digest_of(found.data):
            raise DamagedEntry(f"{self.url}/{path} holds other bytes than were stored")
        if self.lru:
            self._now_live().recency.used(self, name, found)
        # In our time where the clocks disagree, since whoever keeps a copy judges its age by that.
        ahead = found.now - time.time()
        created = found.created - (ahead if abs(ahead) > CLOCK_SLACK else 0.0)
        known = to_entry(path, len(found.data), found.created, found.metadata)
        return Stored(found.data, created, known.compute_time, known)

    def _writing(self, entry: Entry, data: bytes) -> Steps[None]:
        if self.max_size is not None and len(data) > self.max_size:
            raise StorageError(f"{entry.path} is {len(data):,} bytes, more than max_size allows: not stored")
        name = self._name(entry.path)
        put = partial(self._put, name, data, to_metadata(entry, data))
        if (accepted := self._now_live().accepted) is not None and entry.path.startswith(f"{ACCEPTED}/"):
            accepted.add(name)
        return self._guarded(self._now_live().writes, self._store_steps(put))

    def _store_steps(self, put: Request) -> Steps[None]:
        try:
            yield put
        except FileNotFoundError:
            raise StorageError(self._no_bucket()) from None
        # Drawn, not counted: many short processes that store little must sweep too.
        if self.max_size is not None and random.random() * self.sweep_every < 1:  # noqa: S311
            self._sweep_in_background()

    def lock(self, path: str) -> Lock | None:
        """The lease of the entry under ``path``; None where the server keeps no conditions, or none are wanted."""
        leases = self._now_live().leases
        if not self.lease or not self.conditional or leases.conditional is False:
            return None
        return Lease(self, leases, path)

    # --- Looking and removing.

    def peek(self, path: str) -> Entry | None:
        """What is known of the entry under ``path``, in one request; None where there is none."""
        try:
            listed = self._run(self._guarded(self._now_live().reads, self._stat_steps(path, self._name(path))))
        except FileNotFoundError:
            return None
        return listed.entry(path)

    def _stat_steps(self, path: str, name: str) -> Steps[Listed]:
        try:
            listed: Listed = yield partial(self._stat, name)
        except FileNotFoundError:
            return (yield from self._absent(path))
        return listed

    def inspect(self, path: str) -> tuple[bytes | memoryview, bool]:
        """What `load` gives: the digest that every object of ours has was checked against its bytes."""
        return self.load(path).data, True

    def delete(self, path: str) -> bool:
        """Remove the entry under ``path``; whether there was one."""
        entry = self.peek(path) if self.watched else None
        gone = self._run(self._guarded(self._now_live().writes, self._delete_steps(path, self._name(path))))
        if gone and entry is not None:
            self._tell(entry, "invalidated")
        return gone

    def _delete_steps(self, path: str, name: str) -> Steps[bool]:
        if (yield partial(self._remove, name, None)):
            return True
        try:
            return (yield from self._absent(path))
        except FileNotFoundError:
            return False

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        """What is stored, of the folder ``function`` or of all, streamed in pages. Only what has our mark."""
        ours = ((listed, path) for listed, path, _ in self._listing(function))
        for listed, path in ours if self.lists_metadata else self._parallel(self._known, ours):
            if listed is not None:
                yield listed.entry(path)

    def clear(self, function: str | None = None) -> int:
        """Remove every entry of the folder ``function``, or of all; how many there were. Only what has our mark."""
        return self._remove_all((listed, path, "cleared") for listed, path, _ in self._listing(function))

    def prune(self, max_age: float | None = None) -> int:
        """Remove what is older than ``max_age`` seconds, then, over the limit, the oldest; how many entries went.

        An entry that was written again after it was listed stays. Leases that nobody gave back go, too.
        """
        kept: list[tuple[Listed, str]] = []

        def expired() -> Iterator[tuple[Listed, str, str]]:
            for listed, path, now in self._listing():
                if max_age is not None and now - listed.created > max_age:
                    yield listed, path, "expired"
                elif self.max_size is not None:
                    kept.append((listed, path))

        def over_limit() -> Iterator[tuple[Listed, str, str]]:
            held = sum(listed.size for listed, _ in kept)
            if self.max_size is None or held <= self.max_size:
                return
            by_age = sorted(kept, key=lambda pair: (self.lru and pair[0].touched) or pair[0].created)
            for listed, path in by_age:
                newest = listed is by_age[-1][0]
                if held <= self.max_size * (1 if newest else SWEEP_TO):
                    return
                held -= listed.size
                yield listed, path, "limit"

        removed = self._remove_all(expired()) + self._remove_all(over_limit())
        for folder in self.left_behind:
            old = (listed for listed, now in self._objects(self._under(folder)) if now - listed.created > LONGEST)
            for _ in self._parallel(self._remove_listed, old):
                continue
        return removed

    def _listing(self, function: str | None = None) -> Iterator[tuple[Listed, str, float]]:
        """What is ours, or, where a listing tells no metadata, may be; its path; and the server's clock."""
        for listed, now in self._objects(self._root if function is None else self._under(function)):
            path = listed.name.removeprefix(self._root)
            marked = MARK in listed.metadata if self.lists_metadata else _HASHED.search(path)
            if marked and _PATH.fullmatch(path):
                yield listed, path, now

    def _objects(self, prefix: str) -> Iterator[tuple[Listed, float]]:
        token: str | None = None
        while True:
            page = self._run(self._guarded(self._now_live().reads, self._page_steps(prefix, token)))
            yield from ((listed, page.now) for listed in page.objects)
            if (token := page.next) is None:
                return

    def _page_steps(self, under: str, token: str | None) -> Steps[Page]:
        try:
            page: Page = yield partial(self._list, under, token)
        except FileNotFoundError:
            raise StorageError(self._no_bucket()) from None
        return page

    def _remove_all(self, doomed: Iterable[tuple[Listed, str, str]]) -> int:
        def remove(victim: tuple[Listed, str, str]) -> bool:
            listed, path, reason = victim
            known, _ = (listed, path) if self.lists_metadata else self._known((listed, path))
            if known is None or not self._remove_listed(listed):
                return False
            self._tell(known.entry(path), reason)
            return True

        return sum(self._parallel(remove, doomed))

    def _known(self, ours: tuple[Listed, str]) -> tuple[Listed | None, str]:
        """An object that may be ours, with its metadata; None in its place where it is not."""
        listed, path = ours
        try:
            known = self._run(self._guarded(self._now_live().reads, self._stat_steps(path, listed.name)))
        except FileNotFoundError:
            return None, path
        return (known if MARK in known.metadata else None), path

    def _remove_listed(self, listed: Listed) -> bool:
        def steps() -> Steps[bool]:
            gone: bool = yield partial(self._remove, listed.name, listed.generation)
            return gone

        return self._run(self._guarded(self._now_live().writes, steps()))

    def _parallel(self, work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
        from concurrent.futures import ThreadPoolExecutor

        items = iter(items)
        # In batches: at interpreter exit a pool finishes what it was given.
        with ThreadPoolExecutor(PARALLEL) as pool:
            while batch := list(islice(items, PARALLEL)):
                yield from pool.map(work, batch)

    def _tell(self, entry: Entry, reason: str) -> None:
        for listener in self.listeners:
            listener(self, entry, reason)

    def _sweep_in_background(self) -> None:
        live = self._now_live()
        if live.sweeping.acquire(blocking=False):
            try:
                threading.Thread(target=self._sweep, args=(live,), name="perscache-sweep", daemon=True).start()
            except RuntimeError:
                # The interpreter is on its way out; another store sweeps.
                live.sweeping.release()

    def _sweep(self, live: Live) -> None:
        lock, turn = self.lock(SWEEP), None
        try:
            turn = lock is None or lock.acquire(())
            # None: another machine sweeps.
            if turn is not None:
                self.prune()
        except OSError as error:
            log.warning("%s may grow beyond max_size, the sweep failed: %s", self.url, error)
        except RuntimeError:
            # So too when it leaves in the middle.
            log.debug("%s: sweep given up", self.url, exc_info=True)
        finally:
            live.sweeping.release()
            if lock is not None and turn:
                lock.release()

    # --- What stands around each request.

    def _name(self, path: str) -> str:
        if not _PATH.fullmatch(path):
            raise StorageError(f"{path!r} is no path of an entry: it must be <function>/<hash>.<extension>")
        return self._root + path

    def _absent(self, path: str) -> Steps[NoReturn]:
        # A missing bucket answers as a missing object does, and would be a miss for ever. Who may read objects may
        # mostly list them, but not look at the bucket; and the list tells what `may_hold` wants to know.
        live = self._now_live()
        if not live.probed:
            try:
                page: Page = yield partial(self._list, self._under(ACCEPTED), None)
                live.accepted = None if page.next else {listed.name for listed in page.objects}
            except FileNotFoundError:
                raise StorageError(self._no_bucket()) from None
            except Refused:
                live.accepted = None
            live.probed = True
        raise FileNotFoundError(f"{self.url}/{path} does not exist")

    def may_hold(self, path: str) -> bool:
        """Of the records of accepted edits, those that were there at the first miss of this process; else yes."""
        live = self._now_live()
        return live.accepted is None or not path.startswith(f"{ACCEPTED}/") or self._name(path) in live.accepted

    def _under(self, function: str) -> str:
        return f"{self._root}{function}/"

    @property
    def _root(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    def _guarded(self, breaker: Breaker, steps: Steps[T]) -> Steps[T]:
        breaker.admit()
        try:
            answer = yield from steps
        except Refused as error:
            breaker.trip(error)
            raise
        except StorageError as error:
            live = self._now_live()
            live.reads.trip(error)
            live.writes.trip(error)
            live.leases.breaker.trip(error)
            raise
        except (FileNotFoundError, CacheExpired, DamagedEntry):
            breaker.reset()
            raise
        breaker.reset()
        return answer

    def _run(self, steps: Steps[T]) -> T:
        return drive(steps, self._wait)

    async def _arun(self, steps: Steps[T]) -> T:
        return await adrive(steps, self._await)

    # --- What lives in one process only.

    def _now_live(self) -> Live:
        # By process: after a fork the parent's stays, unused, because closing it would end the parent's connections.
        process = os.getpid()
        return self._live.get(process) or self._live.setdefault(process, Live(self.cooldown))

    def _client(self) -> Any:
        """What `_connect` gives, made once a process. Raises what that raises, again at the next call."""
        live = self._now_live()
        with live.lock:
            if live.client is None:
                live.client = self._connect()
            return live.client

    def __getstate__(self) -> dict[str, Any]:
        """Its settings: clients, breakers and listeners stay in their process."""
        return {name: value for name, value in vars(self).items() if name not in ("_live", "listeners")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Settings in, nothing opened."""
        vars(self).update(state, _live={})

    # --- The backend. Names are those of whole objects, prefix included. Each raises StorageError, or Refused.

    @abstractmethod
    def _get(self, name: str) -> Any:
        """The `Found` under ``name``, in one request; FileNotFoundError where there is none."""

    @abstractmethod
    def _put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> Any:
        """Keep body and metadata, atomically, in one request; FileNotFoundError where there is no bucket."""

    @abstractmethod
    def _stat(self, name: str) -> Any:
        """The `Listed` under ``name``; FileNotFoundError where there is none."""

    @abstractmethod
    def _list(self, prefix: str, token: str | None) -> Any:
        """A `Page` of what starts with ``prefix``; FileNotFoundError where there is no bucket."""

    @abstractmethod
    def _remove(self, name: str, generation: str | None) -> Any:
        """Remove ``name``, if it is still of ``generation``; whether it did."""

    def _touch(self, name: str, generation: str) -> Any:
        """Change the metadata of ``name``, if it is still of ``generation``. Only where `touches` is true."""
        raise self._cannot("touch an entry")

    def _put_if(self, name: str, data: bytes, generation: str | None, term: float) -> Any:
        """Keep ``data`` if ``name`` is still of ``generation``, or, for None, if there is none; the new generation.

        FileExistsError where it is not so, whether there is another or none; FileNotFoundError where there is no
        bucket; Unsupported where the server knows no such conditions. After ``term`` seconds the server may forget it
        by itself. Only where `conditional` is true; `_get` then gives generations too.
        """
        raise self._cannot("write on a condition")

    def _connect(self) -> Any:
        """The client by which all threads of this process ask. Only for those that ask by `_client`."""
        raise self._cannot("connect")

    @abstractmethod
    def _no_bucket(self) -> str:
        """The message for a missing bucket: which, and what to do."""

    def _wait(self, request: Request) -> Any:
        """The answer to ``request``, within the timeout. Overridden where requests give coroutines."""
        return request()

    async def _await(self, request: Request) -> Any:
        """`_wait` without holding up the event loop."""
        import asyncio

        return await asyncio.to_thread(self._wait, request)


class Live:
    """What a storage holds in one process: never pickled, never used after a fork."""

    def __init__(self, cooldown: float) -> None:
        self.lock = threading.Lock()
        self.sweeping = threading.Lock()
        self.reads = Breaker(cooldown)
        self.writes = Breaker(cooldown)
        self.leases = Leases(cooldown)
        self.recency = Recency()
        self.probed = False
        self.accepted: set[str] | None = None
        """Objects that are records of accepted edits, as found at the first miss; None where that is unknown."""
        self.client: Any = None
        """The backend's."""


# --- Where a storage is.

_NAME = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+"
_PATH = re.compile(rf"(?:{_NAME}/)?{_NAME}")
_HASHED = re.compile(r"(?:/|\A)[0-9a-f]{32,}\.")
_TRAPS = {"#": "'#'", "?": "'?'", "\\": "a backslash", "//": "'//'", "..": "'..'", "*": "'*'"}


def _split(location: str, schemes: Iterable[str]) -> tuple[str, str]:
    for scheme in schemes:
        location = location.removeprefix(f"{scheme}://")
    bucket, _, prefix = location.removeprefix("/").partition("/")
    if not bucket:
        raise ConfigurationError(f"{location!r} names no bucket: write 'bucket/folder'")
    if "@" in bucket:
        raise ConfigurationError(
            f"what stands before the '@' in the bucket {bucket.rpartition('@')[2]!r} is no part of its name: keys and "
            "passwords belong where the provider's own tools look for them"
        )
    check_folder(bucket, prefix)
    return bucket, prefix


def check_folder(bucket: str, prefix: str) -> None:
    """ConfigurationError for a folder that one store or another cannot take."""
    found = [name for trap, name in _TRAPS.items() if trap in prefix]
    if prefix.startswith("/"):
        found.append("'//'")
    if not prefix.isprintable():
        found.append("a tab or another control character")
    if prefix.endswith("/"):
        found.append("a '/' at its end")
    if found:
        raise ConfigurationError(
            f"the folder {prefix!r} in bucket {bucket!r} holds {' and '.join(found)}, "
            "which one store or another cannot take: use letters, digits, '.', '_', '-' and single inner '/'"
        )

"""Leases: the right to compute one entry, among machines that share a store with conditional writes.

A lease is an object beside the entries that only one can create. Its body has a nonce, new on every write, and a term
in seconds. The holder writes it again at each third of its term; one that is older than its term, by the server's
clock, is of a holder that died: it is taken over on condition of its generation, and so is given back.

Who finds it held looks for the result, and asks again, less and less often. What the holder waits for itself stands in
the body, too, so that waiting closes no circle. Nothing but work depends on a lease: with trouble, in a circle, or at
the end of patience, everybody computes. For the scheme see H. Lai, "A robust distributed locking
algorithm based on Google Cloud Storage", fullstaq.com; ages by the server's clock are ours.
"""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakSet

from .. import trouble
from ..errors import DamagedEntry, StorageError, Unsupported
from .base import Lock
from .breaker import Breaker, Refused

if TYPE_CHECKING:
    from .remote import Found, RemoteStorage, Request, Steps

log = logging.getLogger("perscache")

LEASES: Final = "perscache.leases"
"""Where leases lie, under the prefix of their storage."""

SHORTEST: Final = 3.0
"""Seconds of the shortest term: a server tells times in whole seconds, and takes one write a second of an object."""

LONGEST: Final = 3600.0
"""Seconds of the longest term; an object that is older is nobody's."""

PATIENCE: Final = 3600.0
"""Seconds that others wait for a holder that lives."""

_FIRST_NAP: Final = 0.05
_LONGEST_NAP: Final = 5.0
_PART_OF_WAIT: Final = 0.125
"""How long a nap is, compared with the wait so far: nobody is late by more."""


class Lease(Lock):
    """The lease of one entry, for one who wants to compute it."""

    def __init__(self, storage: RemoteStorage, leases: Leases, path: str) -> None:
        self.path: Final = path
        self.held: Sequence[str] = ()
        """What its caller holds, while it waits."""
        self._storage = storage
        self._leases = leases
        self._nonce = os.urandom(16).hex()
        self._writes = 0
        self._generation: str | None = None
        """That of our last write; None where we do not know what became of it."""
        self._since: float | None = None
        """When somebody else was first seen to hold it."""
        self._process = os.getpid()
        self._given_back = False
        self._writing = threading.Lock()

    # --- What a call uses.

    def acquire(self, held: Sequence[str]) -> bool | None:
        """Ask for it; see `Lock.acquire`. StorageError only where the server refuses."""
        nap = self._next_nap(held)
        if nap is None:
            return False
        self.pause(nap)
        try:
            return self._asked(self._storage._run(self._asking()))
        except BaseException as error:  # noqa: BLE001 - it is raised again, or is trouble
            return self._failed(error)

    async def aacquire(self, held: Sequence[str]) -> bool | None:
        """`acquire` without holding up the event loop."""
        nap = self._next_nap(held)
        if nap is None:
            return False
        await self.apause(nap)
        try:
            return self._asked(await self._storage._arun(self._asking()))
        except BaseException as error:  # noqa: BLE001 - it is raised again, or is trouble
            return self._failed(error)

    def release(self) -> None:
        """Give it back, in a thread that the interpreter waits for when it ends."""
        if self._process != os.getpid():
            return  # It is the parent's.
        self._leases.drop(self)
        self._give_back_in_background()

    def pause(self, seconds: float) -> None:
        """Wait between two requests. For stores that can tell of a release: it may end early."""
        time.sleep(seconds)

    async def apause(self, seconds: float) -> None:
        """`pause` without holding up the event loop."""
        import asyncio

        await asyncio.sleep(seconds)

    # --- Asking.

    def _next_nap(self, held: Sequence[str]) -> float | None:
        """Seconds until asking again; None at the end of patience."""
        self.held = held
        if self._since is None:
            return 0.0
        waited = time.monotonic() - self._since
        if waited > PATIENCE:
            log.info("%s: %s: others compute it for %.0f s; computing too", self._storage.url, self.path, waited)
            return None
        nap = min(max(_FIRST_NAP, _PART_OF_WAIT * waited), _LONGEST_NAP)
        return nap * random.uniform(0.5, 1.0)  # noqa: S311

    def _asking(self) -> Steps[bool | None]:
        return self._storage._guarded(self._leases.breaker, self._ask_steps())

    def _ask_steps(self) -> Steps[bool | None]:
        # Who met a holder looks first: reading is cheaper than writing.
        there = None if self._since is None else (yield from self._look(self.path))
        for _ in range(2):
            if there is not None and not there.lapsed:
                return False if (yield from self._leads_back(there)) else None
            try:
                self._generation = yield self._write(None if there is None else there.generation)
            except FileExistsError:
                self._leases.conditional = True
            except FileNotFoundError:
                raise StorageError(self._storage._no_bucket()) from None
            except Unsupported:
                self._leases.give_up(self._storage)
                return False
            else:
                return self._leases.conditional or (yield from self._probe_steps())
            there = yield from self._look(self.path)
            if there is not None and there.nonce.startswith(self._nonce):
                # It was our write, whose reply was lost.
                self._generation = there.generation
                return True
        return None

    def _probe_steps(self) -> Steps[bool]:
        """Whether the store refuses to create what is there: the first lease of a process finds out."""
        try:
            yield self._write(None)
        except FileExistsError:
            self._leases.conditional = True
            return True
        self._leases.give_up(self._storage)
        yield partial(self._storage._remove, self._name(self.path), None)
        return False

    def _leads_back(self, there: _Holder) -> Steps[bool]:
        """Whether who holds it waits, over others, for what our caller holds."""
        seen: set[str] = set()
        ahead = list(there.waits) if self.held else []
        while ahead:
            path = ahead.pop()
            if path in self.held:
                return True
            if path not in seen:
                seen.add(path)
                other = yield from self._look(path)
                ahead += other.waits if other is not None and not other.lapsed else ()
        return False

    def _asked(self, answer: bool | None) -> bool | None:
        self._leases.note(self, waits=answer is None)
        if answer is None and self._since is None:
            self._since = time.monotonic()
        if answer:
            self._leases.keep(self, self._storage.lease / 3)
        return answer

    def _failed(self, error: BaseException) -> bool:
        self._leases.note(self, waits=False)
        if isinstance(error, (StorageError, DamagedEntry)) and not isinstance(error, Refused):
            # The store of the result tells of it, if it lasts.
            log.debug("%s: computing without a lease: %s", self._storage.url, error)
            return False
        if not isinstance(error, Exception):
            # Interrupted or cancelled while a write was under way: it may be ours now.
            self._give_back_in_background()
        raise error

    # --- Holding.

    def renew(self) -> bool:
        """Write it again, with a fresh time; whether it is still ours, as far as is known."""
        with self._writing:
            if self._given_back:
                return False
            try:
                kept = self._storage._run(self._renew_steps())
            except (OSError, DamagedEntry, RuntimeError) as error:
                log.warning("%s: the lease of %s is not renewed: %s", self._storage.url, self.path, error)
                return True
        if not kept:
            log.warning("%s: the lease of %s was taken over: it is computed twice", self._storage.url, self.path)
        return kept

    def _renew_steps(self) -> Steps[bool]:
        if (generation := self._generation) is None:
            generation = yield from self._ours()
            if generation is None:
                return False
        self._generation = None
        try:
            self._generation = yield self._write(generation)
        except FileExistsError:
            self._generation = yield from self._ours()
        return self._generation is not None

    # --- Giving back.

    def _give_back_in_background(self) -> None:
        try:
            threading.Thread(target=self._give_back, name="perscache-lease").start()
        except RuntimeError:
            log.debug("%s: the lease of %s stays: the interpreter ends", self._storage.url, self.path)

    def _give_back(self) -> None:
        try:
            with self._writing:
                self._given_back = True
                self._storage._run(self._give_back_steps())
        except (OSError, DamagedEntry, RuntimeError) as error:
            log.warning("%s: the lease of %s stays for its term: %s", self._storage.url, self.path, error)

    def _give_back_steps(self) -> Steps[None]:
        generation = self._generation
        if generation is None:
            generation = yield from self._ours()
        if generation is not None:
            yield partial(self._storage._remove, self._name(self.path), generation)

    # --- The object.

    def _name(self, path: str) -> str:
        return f"{self._storage._under(LEASES)}{path}"

    def _write(self, generation: str | None) -> Request:
        self._writes += 1
        term, waits = self._storage.lease, self._leases.waits(self.path)
        data = json.dumps({"nonce": f"{self._nonce}-{self._writes}", "term": term, "waits": waits}).encode()
        return partial(self._storage._put_if, self._name(self.path), data, generation, term)

    def _look(self, path: str) -> Steps[_Holder | None]:
        try:
            found: Found = yield partial(self._storage._get, self._name(path))
        except FileNotFoundError:
            return None
        age = found.now - found.created
        try:
            said = json.loads(found.data)
            lapsed = age >= min(float(said["term"]), LONGEST)
            return _Holder(str(said["nonce"]), found.generation, lapsed, tuple(map(str, said["waits"])))
        except (ValueError, TypeError, KeyError):
            # Not of our writing; nobody renews it.
            return _Holder("", found.generation, age >= self._storage.lease, ())

    def _ours(self) -> Steps[str | None]:
        """The generation of the object, if one of our writes made it."""
        there = yield from self._look(self.path)
        return there.generation if there is not None and there.nonce.startswith(self._nonce) else None


class _Holder(NamedTuple):
    nonce: str
    generation: str
    lapsed: bool
    waits: tuple[str, ...]
    """The paths whose leases it waits for itself."""


class Leases:
    """The leases of one storage in one process: whether there can be any, and those that are held, kept alive."""

    def __init__(self, cooldown: float) -> None:
        self.breaker = Breaker(cooldown)
        self.conditional: bool | None = None
        """Whether the store keeps the conditions of writes, found out at the first lease."""
        self._lock = threading.Lock()
        # Weak, since whoever finds the result while it waits just forgets its lease.
        self._waiting: WeakSet[Lease] = WeakSet()
        self._due: dict[Lease, tuple[float, float]] = {}
        self._thread: threading.Thread | None = None

    def give_up(self, storage: RemoteStorage) -> None:
        """The store does not keep conditions: say so, once."""
        self.conditional = False
        trouble.warn(
            f"{storage.url}: this server ignores conditions on writes, so machines cannot take turns and may compute "
            "the same: use a server that keeps them, or give the storage lease=0",
            once=(storage.url, "leases"),
        )

    def keep(self, lease: Lease, every: float) -> None:
        """Renew ``lease`` every so many seconds, until it is dropped or lost."""
        with self._lock:
            self._due[lease] = (time.monotonic() + every, every)
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew, name="perscache-renewals", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None

    def drop(self, lease: Lease) -> None:
        """Renew it no more."""
        with self._lock:
            self._due.pop(lease, None)

    def note(self, lease: Lease, *, waits: bool) -> None:
        """Remember whether somebody waits for ``lease``, who may hold others."""
        with self._lock:
            (self._waiting.add if waits else self._waiting.discard)(lease)

    def waits(self, path: str) -> list[str]:
        """What those wait for who hold the lease of ``path``."""
        with self._lock:
            return [lease.path for lease in self._waiting if path in lease.held]

    def _renew(self) -> None:
        # Leases of one storage have one term: what comes later is due later, so that nobody needs to wake this thread.
        while True:
            with self._lock:
                if not self._due:
                    self._thread = None
                    return
                lease, (due, every) = min(self._due.items(), key=lambda item: item[1])
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
                continue
            kept = lease.renew()
            with self._lock:
                # It may have been dropped meanwhile.
                if kept and lease in self._due:
                    self._due[lease] = (time.monotonic() + every, every)
                else:
                    self._due.pop(lease, None)

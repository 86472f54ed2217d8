"""Redis and Valkey, on redis-py: one round trip a hit, one a miss's look-up, one a store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, NoReturn

from perscache.buffers import Buffer
from perscache.entry import Entry
from perscache.errors import ConfigurationError, DamagedEntry, StorageError
from perscache.storage.base import Lock
from perscache.storage.lease import LEASES
from perscache.storage.metadata import to_metadata
from perscache.storage.options import check
from perscache.storage.remote import Found, Listed, Page, RemoteStorage, check_folder
from perscache.units import Duration, Size

from .failures import PASSWORD, USERNAME, explained
from .place import SCHEMES, Place, split_query
from .record import HEAD, Record, pack, unpack
from .waking import Bell, WokenLease

if TYPE_CHECKING:
    from perscache.storage.remote import Steps

LARGEST: Final = 512 * 2**20
"""Bytes that Redis keeps under one key."""

CONNECTIONS: Final = 64
"""Connections to the server at once, from one process; who needs one more waits."""

FOREVER: Final = 10 * 365 * 86_400_000
"""Milliseconds for which the server is told to keep what has no time to live: by what is left of them it tells ages."""

_PAGE: Final = 1000

# The first argument is a generation: what the key must begin with.
_REMOVE: Final = """
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])
"""
_RELEASE: Final = """
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
redis.pcall('PUBLISH', ARGV[2], KEYS[1])
return 1
"""
_REPLACE: Final = """
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
# Unless what is there is as young as so many milliseconds.
_FILL: Final = """
local keep, age = string.match(redis.call('GETRANGE', KEYS[1], 0, 127), '^perscache %x+ {"keep":(%d+),"age":(%d+)')
if keep and keep + age - redis.call('PTTL', KEYS[1]) <= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class RedisStorage(RemoteStorage):
    """Entries in a database of a Redis or Valkey server, each under a key of its own, with what is known of it.

        RedisStorage("redis://localhost:6379/0/team")
        RedisStorage("rediss://cache.example.org/0/team", username="reader", password=password)
        RedisStorage("unix:///run/redis.sock", db=0, prefix="team")

    The same as a URL: ``redis://user:password@localhost:6379/0/team?timeout=2``. Who asks may also stand in the
    environment, in ``REDIS_USERNAME`` and ``REDIS_PASSWORD``.
    """

    schemes = tuple(SCHEMES)
    conditional = True
    left_behind = ()

    url_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        **RemoteStorage.url_options,
        "db": int,
        "prefix": str,
        "username": str,
        "password": str,
        "ssl_ca_certs": str,
        "ssl_certfile": str,
        "ssl_keyfile": str,
        "ssl_cert_reqs": str,
    }

    def __init__(
        self,
        location: str = "redis://localhost:6379/0",
        max_size: Size | None = None,
        *,
        db: int | None = None,
        prefix: str | None = None,
        username: str | None = None,
        password: str | None = None,
        client_options: Mapping[str, Any] | None = None,
        timeout: Duration = 5.0,
        cooldown: Duration = 30.0,
        sweep_every: int = 100,
        lease: Duration = 30.0,
    ) -> None:
        """A storage at ``location``, ``"redis://host:6379/0/prefix"``. Nothing is imported or asked before a call.

        ``db`` and ``prefix`` are for a location that does not name them: the database 0, and ``"perscache"``.
        ``client_options`` are redis-py's for each connection: ``{"ssl_ca_certs": "ca.pem"}``. ``timeout`` bounds each
        wait for the server, and the sending of a value. For ``max_size``, ``cooldown``, ``sweep_every`` and ``lease``
        see `RemoteStorage`; a server with a limit of its own and a policy of eviction needs no ``max_size``.
        """
        self.place = Place.parse(location, db, prefix)
        super().__init__(
            location,
            max_size,
            timeout=timeout,
            cooldown=cooldown,
            sweep_every=sweep_every,
            lease=lease,
        )
        self.client_options = dict(client_options or {})
        self._username = username or self.place.username
        self._password = password or self.place.password

    @classmethod
    def _parsed(cls, url: str) -> tuple[str, dict[str, Any]]:
        place, query = split_query(url)
        check(cls.__name__, query, cls.url_options)
        asked: dict[str, Any] = {}
        for name, text in query.items():
            try:
                asked[name] = cls.url_options[name](text)
            except ValueError as error:
                raise ConfigurationError(f"{place.partition('://')[0]}://…?{name}={text}: {error}") from error
        tls = {name: asked.pop(name) for name in query if name.startswith("ssl_")}
        return place, {**asked, "client_options": tls} if tls else asked

    def _placed(self, location: str) -> tuple[str, str]:
        check_folder(str(self.place.database), self.place.prefix)
        return str(self.place.database), self.place.prefix

    @property
    def url(self) -> str:
        """Where it is, ``redis://host:6379/0/prefix``, without who asks."""
        return self.place.url

    # --- Reading and writing.

    def _writing(self, entry: Entry, data: bytes) -> Steps[None]:
        if len(data) > LARGEST - HEAD:
            raise StorageError(
                f"{entry.path} is {len(data):,} bytes, and Redis keeps {LARGEST:,} under a key: not stored; give the "
                "function another storage=, or a store_if= that refuses such a result"
            )
        return super()._writing(entry, data)

    def _absent(self, path: str) -> Steps[NoReturn]:
        # A database is there or refused: there is nothing to ask for. To find the records of accepted edits, the server
        # would go through all of its keys.
        self._now_live().probed = True
        return super()._absent(path)

    def fill(self, entry: Entry, data: Buffer) -> bool:
        """A copy as old as ``entry``, unless a newer is here, or it is too large or too old; see `Storage.fill`."""
        body = bytes(data)
        metadata = to_metadata(entry, body)
        age = max(0, int((time.time() - entry.created.timestamp()) * 1000))
        keep = _keep(metadata) - age
        if keep <= 0 or len(body) > min(LARGEST - HEAD, self.max_size or LARGEST):
            return False
        question = ("EVAL", _FILL, 1, self._name(entry.path), age, pack(body, metadata, keep, age)[1], keep)
        self._run(self._guarded(self._now_live().writes, self._store_steps(partial(self._ask, question))))
        return True

    def lock(self, path: str) -> Lock | None:
        """The lease of the entry under ``path``; who waits for it hears of it when it is given back."""
        return None if super().lock(path) is None else WokenLease(self, self._now_live().leases, path)

    def _objects(self, prefix: str) -> Iterator[tuple[Listed, float]]:
        # A server that moves its keys to a larger or smaller table meanwhile may name one twice.
        seen: set[str] = set()
        for listed, now in super()._objects(prefix):
            if listed.name not in seen:
                seen.add(listed.name)
                yield listed, now

    # --- The backend.

    def _get(self, name: str) -> Found:
        # In this order: what is replaced in between may seem to be older than it is, but not younger.
        left, data = self._ask(("PTTL", name), ("GET", name))
        if data is None:
            raise FileNotFoundError(name)
        record = unpack(data)
        if record is None or record.size != len(data) - record.body:
            raise DamagedEntry(f"{self.place.server}: the key {name} holds what perscache did not write: remove it")
        now = time.time()
        return Found(data[record.body :], record.created(left, now), now, record.metadata, record.generation)

    def _put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> None:
        keep = _keep(metadata)
        self._ask(("SET", name, pack(data, metadata, keep)[1], "PX", keep))

    def _put_if(self, name: str, data: bytes, generation: str | None, term: float) -> str:
        keep = int(term * 1000)
        new, packed = pack(data, {}, keep)
        if generation is None:
            (done,) = self._ask(("SET", name, packed, "NX", "PX", keep))
        else:
            (done,) = self._ask(("EVAL", _REPLACE, 1, name, generation, packed, keep))
        if not done:
            raise FileExistsError(name)
        return new

    def _stat(self, name: str) -> Listed:
        try:
            head, left = self._ask(("GETRANGE", name, 0, HEAD - 1), ("PTTL", name))
        except DamagedEntry:
            raise FileNotFoundError(name) from None
        record = unpack(head)
        if record is None:
            raise FileNotFoundError(name)
        return _listed(name, record, left, time.time())

    def _list(self, prefix: str, token: str | None) -> Page:
        ((cursor, names),) = self._ask(
            ("SCAN", token or "0", "MATCH", f"{_literally(prefix)}*", "COUNT", _PAGE, "TYPE", "string")
        )
        # In this order: who removes what is old must not take a new one for it.
        asked = [question for name in names for question in (("GETRANGE", name, 0, HEAD - 1), ("PTTL", name))]
        answers = iter(self._ask(*asked) if asked else ())
        now = time.time()
        listed: list[Listed] = []
        for name, head, left in zip(names, answers, answers, strict=True):
            if left != -2 and (record := unpack(head)) is not None:
                listed.append(_listed(name.decode("utf-8", "replace"), record, left, now))
        return Page(listed, str(cursor) if cursor else None, now)

    def _remove(self, name: str, generation: str | None) -> bool:
        if generation is None:
            (gone,) = self._ask(("UNLINK", name))
        elif name.startswith(self._under(LEASES)):
            (gone,) = self._ask(("EVAL", _RELEASE, 1, name, generation, self._channel))
        else:
            (gone,) = self._ask(("EVAL", _REMOVE, 1, name, generation))
        return bool(gone)

    def _no_bucket(self) -> str:
        return f"{self.place.server} has no database {self.place.database}"

    # --- The way there.

    def _ask(self, *questions: tuple[Any, ...]) -> list[Any]:
        """The answers to ``questions``, which are sent together."""
        try:
            client = self._client().client
            if len(questions) == 1:
                return [client.execute_command(*questions[0])]
            with client.pipeline(transaction=False) as together:
                for question in questions:
                    together.execute_command(*question)
                answers: list[Any] = together.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers
        except Exception as error:  # noqa: BLE001 - whatever a client library raises is told in our words
            told = explained(error, self.place, self.timeout, self._secret)
            raise told from told.__cause__

    @property
    def _secret(self) -> str | None:
        return self._password or os.environ.get(PASSWORD)

    @property
    def _channel(self) -> str:
        """Where it is said that a lease was given back. Channels are the same in all databases."""
        return f"{self._root}{LEASES}@{self.bucket}"

    def _connect(self) -> Connected:
        client = self._redis()
        return Connected(client, Bell(client, self._channel))

    def _redis(self) -> Any:
        from redis import BlockingConnectionPool, Redis
        from redis import ConnectionError as Lost
        from redis.backoff import ExponentialBackoff
        from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
        from redis.retry import Retry

        place = self.place
        kind = {"redis": Connection, "rediss": SSLConnection, "unix": UnixDomainSocketConnection}[place.scheme]
        where = {"path": place.host} if place.scheme == "unix" else {"host": place.host, "port": place.port}
        options: dict[str, Any] = {
            "username": self._username or os.environ.get(USERNAME),
            "password": self._secret,
            # What takes too long is not asked again: the time is over.
            "retry": Retry(ExponentialBackoff(), 1, supported_errors=(Lost,)),
            "retry_on_error": [Lost],
            **self.client_options,
            **where,
            "db": place.database,
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "decode_responses": False,
            # The newer protocol asks once more on connecting, and gives the same answers here.
            "protocol": 2,
        }
        pool: Any = BlockingConnectionPool  # which has no types
        return Redis(
            connection_pool=pool(max_connections=CONNECTIONS, timeout=self.timeout, connection_class=kind, **options)
        )


class Connected(NamedTuple):
    """What a storage has of the server in one process."""

    client: Any
    bell: Bell


def _keep(metadata: Mapping[str, str]) -> int:
    """Milliseconds for which the server is to keep an entry."""
    with suppress(KeyError, ValueError):
        life = datetime.fromisoformat(metadata["expires"]) - datetime.fromisoformat(metadata["created"])
        return min(max(1, int(life.total_seconds() * 1000)), FOREVER)
    return FOREVER


def _listed(name: str, record: Record, left: int, now: float) -> Listed:
    return Listed(name, record.size, record.created(left, now), record.generation, record.metadata)


def _literally(text: str) -> str:
    """A pattern that ``text`` alone fits."""
    return "".join(f"\\{character}" if character in r"*?[]^\-" else character for character in text)

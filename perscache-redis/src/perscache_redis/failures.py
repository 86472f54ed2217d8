"""What a server of Redis answers where it does not do what it was asked, and what to do then."""

from __future__ import annotations

from typing import Final, NamedTuple

from perscache.errors import DamagedEntry, PerscacheError, StorageError
from perscache.storage.remote import Refused

from .place import Place

USERNAME: Final = "REDIS_USERNAME"
PASSWORD: Final = "REDIS_PASSWORD"  # noqa: S105 - the variable's name
"""Variables of the environment that say who asks, where the URL does not."""

RIGHTS: Final = "+get +set +pttl +getrange +unlink +eval +scan +select"
"""What a user of the server must be allowed."""


class _Meaning(NamedTuple):
    errors: tuple[str, ...]
    """redis-py's names of them."""
    kind: type[PerscacheError]
    """Refused is for what other requests may be spared; any other trouble is the whole server's."""
    fact: str
    remedy: str
    says: tuple[str, ...] = ()
    """What the server's text holds of other errors that mean the same: not all have a name, and older versions less."""


_MEANINGS: Final = (
    _Meaning(
        ("OutOfMemoryError",), Refused,
        "has no memory left, and its policy evicts nothing",
        "set its maxmemory-policy to allkeys-lru, raise maxmemory, or give functions a ttl=",
    ),
    _Meaning(
        ("ReadOnlyError",), Refused,
        "is a replica, which cannot be written to",
        "name its primary, or use the mode 'readonly'",
    ),
    _Meaning(
        ("BusyLoadingError", "MasterDownError", "TryAgainError"), StorageError,
        "is not ready yet",
        "it is asked again later",
        says=("MASTERDOWN ",),
    ),
    _Meaning(
        ("AskError", "ClusterError"), StorageError,
        "is one node of a Redis Cluster, which perscache-redis does not speak",
        "name a server with cluster-enabled no, or a proxy before the cluster",
        says=("in cluster mode", "MOVED ", "ASK ", "CLUSTERDOWN "),
    ),
    _Meaning(
        ("NoPermissionError",), Refused,
        "does not let this user do that",
        f"ACL SETUSER <user> ~{{keys}}* {RIGHTS}",
    ),
    _Meaning(
        ("AuthenticationError", "AuthorizationError", "AuthenticationWrongNumberOfArgsError"), StorageError,
        "does not take the user and password that it was given, or wants some",
        f"give them in the URL, redis://user:password@host, or in {USERNAME} and {PASSWORD}",
    ),
    _Meaning(
        ("TimeoutError",), StorageError,
        "did not answer within {timeout:g} s",
        "look at the server and the network, or give a longer timeout=",
    ),
    _Meaning(
        (), StorageError,
        "cannot prove who it is",
        "name the file with its authority's certificate, ?ssl_ca_certs=ca.pem",
        says=("certificate verify failed",),
    ),
    _Meaning(
        ("ConnectionError",), StorageError,
        "cannot be reached",
        "look whether it runs, and whether this is its address",
    ),
    _Meaning(
        (), StorageError,
        "has no database {database}",
        "name a lower one, or raise `databases` in its configuration",
        says=("DB index is out of range",),
    ),
    _Meaning(
        (), DamagedEntry,
        "has a key of ours with what perscache did not write",
        "remove it",
        says=("WRONGTYPE",),
    ),
    _Meaning((), Refused, "failed", "look at the server's log and at the options given", says=("",)),
)  # fmt: skip


def explained(error: Exception, place: Place, timeout: float, secret: str | None) -> PerscacheError:
    """What ``error`` of redis-py means at ``place``. The text shows no ``secret``, nor does its cause."""
    said = " ".join(str(error).split()) or type(error).__name__
    cause: Exception | None = error
    if secret and secret in said:
        # A server that does not know a command repeats what came with it.
        said, cause = said.replace(secret, "***"), None
    meaning = next(one for one in _MEANINGS if _fits(one, error, said))
    known = {"keys": place.keys, "database": place.database, "timeout": timeout}
    explanation = meaning.kind(
        f"{place.server} {meaning.fact.format(**known)} ({said}): {meaning.remedy.format(**known)}"
    )
    explanation.__cause__ = cause
    return explanation


def _fits(meaning: _Meaning, error: Exception, said: str) -> bool:
    from redis import exceptions

    kinds = tuple(getattr(exceptions, name) for name in meaning.errors if hasattr(exceptions, name))
    return isinstance(error, kinds) or any(text in said for text in meaning.says)

"""A place: the server, the database and the prefix that a URL names, and who asks for them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from perscache.errors import ConfigurationError

PREFIX: Final = "perscache"
"""What keys begin with where nobody says otherwise: databases are shared with other programs."""

SCHEMES: Final = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}
"""How a URL may begin, and what that comes to: plain, encrypted, or a socket of this machine."""

_EXAMPLE: Final = "redis://localhost:6379/0/team"


@dataclass(frozen=True, slots=True)
class Place:
    """Where entries are. Its text names no user and no password."""

    scheme: str
    """One of the values of `SCHEMES`."""
    host: str
    """The host's name; of a socket, its path."""
    port: int
    database: int
    prefix: str
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, database: int | None = None, prefix: str | None = None) -> Place:
        """The place at ``url``, a redis-py URL with a prefix behind its database, or with these two given apart.

        ConfigurationError for one that names no place, or might name two. The message does not show who asks.
        """
        parts = _split(url)
        scheme = SCHEMES[parts.scheme.lower()]
        if scheme == "unix":
            host, port, path = unquote(parts.path), 0, ""
            if parts.hostname or not host:
                raise ConfigurationError(f"{_shown(parts)} names no socket: write unix:///run/redis.sock?db=0")
        else:
            host, port, path = unquote(parts.hostname or "localhost"), parts.port or 6379, unquote(parts.path[1:])
        number, _, rest = path.partition("/")
        if number and not (number.isascii() and number.isdigit()):
            raise ConfigurationError(
                f"{_shown(parts)}: {number!r} is no number of a database, and a prefix stands behind one: "
                f"write {scheme}://{_netloc(host, port)}/0/{path}"
            )
        if (number and database is not None) or (rest and prefix is not None):
            raise ConfigurationError(f"{_shown(parts)} names its database or prefix twice: say it in the path or apart")
        if database is not None and database < 0:
            raise ConfigurationError(f"db={database}: databases are numbered from 0")
        return cls(
            scheme,
            host,
            port,
            int(number) if number else database or 0,
            rest or (PREFIX if prefix is None else prefix),
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
        )

    @property
    def server(self) -> str:
        """The server as a URL, without who asks: ``redis://localhost:6379``."""
        return f"unix://{self.host}" if self.scheme == "unix" else f"{self.scheme}://{_netloc(self.host, self.port)}"

    @property
    def url(self) -> str:
        """All of it as a URL, without who asks."""
        prefix = self.prefix.replace("%", "%25").replace("@", "%40")
        if self.scheme == "unix":
            return f"{self.server}?db={self.database}&prefix={prefix}"
        return f"{self.server}/{self.database}{f'/{prefix}' if prefix else '?prefix='}"

    @property
    def keys(self) -> str:
        """What every key begins with."""
        return f"{self.prefix}/" if self.prefix else ""


def split_query(url: str) -> tuple[str, dict[str, str]]:
    """What stands before the ``?`` of ``url``, and the options behind it."""
    place, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if any("@" in name for name in options):
        raise _unreadable(place)
    return place, options


def _split(url: str) -> SplitResult:
    scheme, found, _ = url.partition("://")
    if not found or scheme.lower() not in SCHEMES:
        raise ConfigurationError(f"a place in Redis is named by a URL such as {_EXAMPLE!r}, here it is none")
    parts: SplitResult | None = None
    # What the library says of a URL may show a piece of the password.
    with suppress(ValueError):
        parts = urlsplit(url) if urlsplit(url).port != 0 else None
    if parts is None or parts.query or parts.fragment or "@" in parts.path:
        raise _unreadable(url)
    return parts


def _unreadable(url: str) -> ConfigurationError:
    # Nor is any of it shown here.
    return ConfigurationError(
        f"this {url.partition('://')[0]}:// URL cannot be read: write it as {_EXAMPLE!r}, with %2F, %23, %3F and %40 "
        "for '/', '#', '?' and '@' in a password; give a class its options by name"
    )


def _shown(parts: SplitResult) -> str:
    """The URL up to its path, without who asks."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""The file systems of fsspec that have no distribution of their own: plain files, each with what is known of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self

from perscache.entry import ACCEPTED
from perscache.errors import ConfigurationError, DamagedEntry, StorageError
from perscache.storage.remote import Found, Listed, Page, Refused, RemoteStorage, check_folder
from perscache.units import Duration, Size

from .folder import DRAFTS, Folder
from .record import NoRecord, created

if TYPE_CHECKING:
    from .connections import Connections

LISTING: Final = 10
"""Timeouts that a listing may take: a folder may hold very many files, and no call waits for it."""

MEGABYTE: Final = 1e6
"""Bytes for which a body may take another second."""

_EXTRAS: Final = {"ssh": "sftp", "https": "http"} | {
    name: name for name in ("sftp", "webdav", "smb", "http", "hf", "hdfs", "webhdfs", "github")
}
_SERVER: Final = ("host", "port", "base_url", "endpoint_url", "endpoint")
_LOGIN: Final = re.compile(r"([^/:@]*):[^/@]*@")


class FsspecStorage(RemoteStorage):
    """Entries as plain files in a folder of any file system that fsspec knows.

        FsspecStorage("sftp://me@host/data/cache")
        FsspecStorage("smb://host/share/cache", max_size="20GB", options={"username": "me", "password": password})
        FsspecStorage("fsspec+lakefs://repository/main/cache")

    The same as URLs: ``sftp://me@host/data/cache?max_size=20GB``. ``fsspec+`` goes before schemes that nobody else
    claims, and before those of others to have fsspec's. Machines do not take turns; ages are told by the clocks of
    those who write and read.
    """

    schemes = (
        "fsspec", "dbfs", "dropbox", "ftp", "gdrive", "github", "hdfs", "hf", "http", "https", "oci", "oss", "sftp",
        "smb", "ssh", "webdav", "webhdfs",
    )  # fmt: skip
    lists_metadata = False
    left_behind = (DRAFTS,)

    url_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        **{name: read for name, read in RemoteStorage.url_options.items() if name not in {"lease", "lru"}},
        "connections": int,
    }

    def __init__(
        self,
        location: str,
        max_size: Size | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        connections: int = 8,
        timeout: Duration = 5.0,
        cooldown: Duration = 30.0,
        sweep_every: int = 100,
    ) -> None:
        """A storage at ``location``, a URL. Nothing is asked before the first call.

        ``options`` are those of the file system, as fsspec calls them; those of fsspec's own configuration hold too. At
        most ``connections`` are open at a time. ``timeout`` bounds a call; a body may take a second more a megabyte.
        For ``max_size``, ``cooldown`` and ``sweep_every`` see `RemoteStorage`.
        """
        self.protocol = ""
        super().__init__(location, max_size, timeout=timeout, cooldown=cooldown, sweep_every=sweep_every, lease=0)
        if connections < 2:
            raise ConfigurationError(f"connections={connections!r}: {self} needs two, one to see how the other gets on")
        self.connections = connections
        self.options = dict(options or {})

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The storage at ``scheme://place?option=value``; ``options`` are stronger than the query."""
        place, asked = cls._parsed(url)
        return cls(f"{url.partition('://')[0]}://{place}", **(asked | options))

    def _placed(self, location: str) -> tuple[str, str]:
        scheme, slashes, place = location.partition("://")
        self.protocol = scheme.lower().removeprefix("fsspec+")
        shown = self._without_password(location)
        if "::" in location:
            raise ConfigurationError(
                f"{shown!r} is a chain of file systems, whose copies and listings grow stale: name the last of "
                "them, and give a list of storages for tiers"
            )
        if not slashes or not place.strip("/") or self.protocol == "fsspec":
            raise ConfigurationError(
                f"{shown!r} names no folder in a file system of fsspec: write 'sftp://host/folder', or, for a "
                "scheme that nobody claims, 'fsspec+scheme://folder'"
            )
        if self.protocol not in self.schemes:
            _check_protocol(shown, self.protocol)
        check_folder(shown, self._without_password(place).lstrip("/"))
        return place, ""

    @property
    def url(self) -> str:
        """Where it is, ``scheme://place``, without the password."""
        scheme = self.protocol if self.protocol in self.schemes else f"fsspec+{self.protocol}"
        return f"{scheme}://{self._without_password(self.bucket)}"

    def _without_password(self, location: str) -> str:
        # Before the "@" of github there is a repository.
        return location if self.protocol == "github" else _LOGIN.sub(r"\1@", location, count=1)

    @property
    def identity(self) -> str:
        """Its URL, and the server where the options name it."""
        server = [str(self.options[name]) for name in _SERVER if name in self.options]
        return "@".join((self.url, *server))

    # --- The backend.

    def _get(self, name: str) -> Found:
        try:
            value, record = self._ask(lambda folder: folder.read(name), more=partial(self._seconds_for, name))
        except NoRecord as error:
            raise DamagedEntry(f"{self.url}/{name} is no whole file of ours: it has no record") from error
        if record.get("path") != name:
            raise DamagedEntry(f"{self.url}/{name} was written under another name: {record.get('path')}")
        return Found(value, created(record), time.time(), record)

    def _put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> None:
        record = {**metadata, "path": name}
        self._ask(lambda folder: folder.write(name, data, record), self.timeout + len(data) / MEGABYTE)

    def _stat(self, name: str) -> Listed:
        def stat(folder: Folder) -> Listed:
            file = folder.info(name)
            try:
                record, size = folder.read_record(name, file.size)
            except NoRecord:
                return Listed(name, file.size, file.modified or time.time(), file.generation, {})
            return Listed(name, size, created(record), file.generation, record)

        listed: Listed = self._ask(stat)
        return listed

    def _list(self, prefix: str, token: str | None) -> Page:
        # A page is a folder; the token names those ahead.
        under, *ahead = (prefix,) if token is None else token.split("\n")

        def listing(folder: Folder) -> tuple[list[Listed], list[str]]:
            listed: list[Listed] = []
            inner: list[str] = []
            files = list(folder.list(under))
            newest = max((file.modified for file in files if file.modified is not None), default=None)
            for file in files:
                name = f"{under}{file.name}"
                if not file.is_folder:
                    # Many tell whole seconds: of the last one, which was the last must be known.
                    rough = file.modified is None or (file.modified == newest and file.modified.is_integer())
                    written = folder.written(name, file) if rough else file.modified
                    listed.append(Listed(name, file.size, now if written is None else written, file.generation, {}))
                elif not under and name != DRAFTS and name.isprintable():
                    inner.append(f"{name}/")
            return listed, inner

        now = time.time()
        patience = self.timeout * (1 if prefix == f"{ACCEPTED}/" else LISTING)
        listed, inner = self._ask(listing, patience)
        return Page(listed, "\n".join((*inner, *ahead)) or None, now)

    def _remove(self, name: str, generation: str | None) -> bool:
        def remove(folder: Folder) -> bool:
            try:
                there = folder.info(name)
                if generation is not None and not there.may_be(generation):
                    return False
                folder.remove(name)
            except FileNotFoundError:
                return False
            return True

        return bool(self._ask(remove))

    def _no_bucket(self) -> str:
        return f"{self.url} cannot be made: make the folder by hand, or correct the URL"

    # --- The way there.

    def _ask(
        self, work: Callable[[Folder], Any], seconds: float | None = None, more: Callable[[float], float] | None = None
    ) -> Any:
        from .connections import Late

        seconds = self.timeout if seconds is None else seconds
        try:
            return self._client().ask(work, seconds, more)
        except (Late, TimeoutError) as late:
            why = f" ({late})" if str(late) else ""
            raise StorageError(f"{self.url} did not answer within {seconds:.3g} s{why}") from None
        except (FileNotFoundError, DamagedEntry):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a file system raises is told in our words
            self._explain(error)

    def _connect(self) -> Connections[Folder]:
        from .connections import Connections

        # Without the storage: what serves it must not keep it alive.
        connect = partial(Folder, f"{self.protocol}://{self.bucket}", self.options, self.timeout)
        return Connections(connect, self.connections)

    def _seconds_for(self, name: str, patience: float) -> float:
        """How many seconds more a body may take that is slow to come."""
        try:
            size: int = self._client().ask(lambda folder: folder.info(name).size, patience)
        except Exception:  # noqa: BLE001 - then none
            return 0.0
        return size / MEGABYTE

    def _explain(self, error: Exception) -> NoReturn:
        """Raise what ``error`` means."""
        kind = type(error).__name__
        said = " ".join(str(error).split()) or kind
        status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, ImportError):
            extra = _EXTRAS.get(self.protocol)
            remedy = f"pip install 'perscache-fsspec[{extra}]'" if extra else "install what it names"
            raise Refused(f"{self.url} needs a library that is not installed ({said}): {remedy}") from error
        if kind in _NO_LOGIN or said.startswith("530") or status == 401:
            variables = f"FSSPEC_{self.protocol.upper()}_USERNAME and _PASSWORD"
            raise Refused(
                f"{self.url} takes no credentials that were found ({kind}: {said}): name the user in the URL, give "
                f"options={{'username': …, 'password': …}}, or set {variables}"
            ) from error
        if isinstance(error, PermissionError) or said.startswith(("550", "553")) or status == 403:
            raise Refused(
                f"{self.url} refuses this ({said}): let the user read, write, list and delete in that folder, "
                "or give another one"
            ) from error
        if isinstance(error, NotImplementedError) or status == 405:
            raise Refused(
                f"{self.url} cannot be written, only read ({kind}: {said}): give mode='readonly', or another storage"
            ) from error
        if isinstance(error, (TypeError, ValueError)):
            raise Refused(f"{self.url} refused a request, or an option ({kind}: {said}): look at options=") from error
        raise StorageError(f"{self.url} failed: {kind}: {said}") from error


_NO_LOGIN: Final = frozenset({
    "AuthenticationException", "BadAuthenticationType", "PasswordRequiredException", "LogonFailure",
})  # fmt: skip


def _check_protocol(location: str, protocol: str) -> None:
    from difflib import get_close_matches

    from fsspec import available_protocols, registry

    if protocol not in (known := {*available_protocols(), *registry}):
        close = get_close_matches(protocol, known, 1)
        hint = f"did you mean 'fsspec+{close[0]}://'?" if close else f"there are {', '.join(sorted(known))}"
        raise ConfigurationError(f"{location!r}: fsspec knows no file system {protocol!r}: {hint}")

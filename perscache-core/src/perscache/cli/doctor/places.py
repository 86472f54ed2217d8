"""Where results go: whether the folder can be written, on which file system it lies, and whether locks work there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Final

from ...errors import PerscacheError
from ...storage import LocalFileStorage, Storage, configured_storage
from .diagnosis import Diagnosis

_NETWORK: Final = frozenset(
    ["9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs", "sshfs"]
)
_FLEETING: Final = {"overlay": "ends with its container", "ramfs": "is memory", "tmpfs": "is memory"}


def examine(asked: str | None, diagnosis: Diagnosis, *, writes: bool) -> list[dict[str, Any]]:
    """What is known of the storage that ``Cache(storage=asked)`` uses, tier by tier. Only local folders are tried.

    That nothing can be written there is wrong unless the mode in force does not write.
    """
    try:
        storage = configured_storage(asked)
    except PerscacheError as error:
        diagnosis.wrong(str(error))
        return []
    tiers: tuple[Storage, ...] = getattr(storage, "tiers", (storage,))
    return [_local(tier, diagnosis, writes) if isinstance(tier, LocalFileStorage) else _other(tier) for tier in tiers]


def _other(storage: Storage) -> dict[str, Any]:
    return {"storage": storage.identity, "tried": False}


def _local(storage: LocalFileStorage, diagnosis: Diagnosis, writes: bool) -> dict[str, Any]:
    import shutil

    folder = storage.location
    present = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    kind = file_system(present)
    facts: dict[str, Any] = {
        "storage": storage.identity,
        "exists": present == folder,
        "writable": True,
        "locks": None,
        "file system": kind,
        "free": None,
    }
    try:
        facts["free"] = shutil.disk_usage(present).free
        facts["locks"] = _locks_work(present)
    except OSError as error:
        facts["writable"] = False
        if writes:
            diagnosis.wrong(
                f"{folder} cannot be written ({error.strerror or error}), so that nothing is kept there: let {_user()} "
                f"write in {present}, or name another folder with PERSCACHE_STORAGE"
            )
    if facts["locks"] is False:
        diagnosis.wrong(
            f"{folder} lies on a file system ({kind}) without locks, so that processes compute the same at the same "
            "time: name a folder on a local disk with PERSCACHE_STORAGE, or set lock=False"
        )
    bare = (kind or "").removeprefix("fuse.")
    if bare in _NETWORK:
        diagnosis.remarks.append(
            f"{folder} lies on a network disk ({kind}): results are safe there, and computed once as far as its locks "
            "hold between machines; a storage made for several machines is one of gs://, s3://, az:// and redis://"
        )
    if bare in _FLEETING:
        diagnosis.remarks.append(
            f"{folder} lies on {kind}, which {_FLEETING[bare]}: to keep results longer, name a folder on a disk with "
            "PERSCACHE_STORAGE"
        )
    return facts


def file_system(folder: Path) -> str | None:
    """The kind of file system that ``folder`` is on, such as "ext4"; None where the system does not tell."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.realpath(folder)
    longest, kind = "", None
    for mount in mounts:
        # 36 35 98:0 /root /point options - type source options: see proc_pid_mountinfo(5)
        before, _, after = mount.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda escaped: chr(int(escaped[1], 8)), before.split()[4])
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(longest):
            longest, kind = point, after.split()[0]
    return kind


_ASK: Final = """
import sys
from perscache.storage import LocalFileStorage
sys.exit({True: 3, False: 4, None: 5}[LocalFileStorage(sys.argv[1]).lock(sys.argv[2]).free()])
"""


def _locks_work(folder: Path) -> bool | None:
    """Whether a process sees the lock of another; None where that could not be found out.

    Tried in a folder that is made in ``folder`` and goes again; raises OSError where it cannot be made.
    """
    import subprocess
    from tempfile import TemporaryDirectory

    path = f"doctor/{0:040x}.pickle"
    with TemporaryDirectory(prefix=".perscache-doctor-", dir=folder) as trial:
        storage = LocalFileStorage(trial)
        storage.write(path, b"1")
        storage.read(path, None)
        lock = storage.lock(path)
        if not lock.acquire(()):
            return False
        try:
            command = [sys.executable, "-P", "-c", _ASK, trial, path]
            asked = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
        finally:
            lock.release()
    return {3: False, 4: True, 5: False}.get(asked.returncode)


def _user() -> str:
    return f"user {os.geteuid()}" if hasattr(os, "geteuid") else "you"

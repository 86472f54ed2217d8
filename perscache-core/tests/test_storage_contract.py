"""What every storage promises, asked of those that come with the core and of a user's own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from perscache.errors import CacheExpired
from perscache.storage import FileStorage, LocalFileStorage, MemoryStorage, Storage
from perscache.testing import Around, StorageTests


class TwoMethods(Storage):
    """A user's own, as the document has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def read(self, path: str, deadline: datetime | None) -> bytes:
        file = self.folder / path
        if deadline is not None and datetime.fromtimestamp(file.stat().st_mtime, UTC) < deadline:
            raise CacheExpired(path)
        return file.read_bytes()

    def write(self, path: str, data: bytes) -> None:
        draft = self.folder / f"{path}.{threading.get_ident()}.draft"
        draft.write_bytes(data)
        draft.replace(self.folder / path)


class Attic(FileStorage):
    """A user's own, of the nine file operations."""

    def read_file(self, path: Path) -> bytes:
        return path.read_bytes()

    def write_file(self, path: Path, data: bytes) -> None:
        draft = path.with_name(f"draft.{os.getpid()}.{threading.get_ident()}")
        draft.write_bytes(data)
        draft.replace(path)

    def ensure_path(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def iterdir(self, path: Path) -> Iterable[Path]:
        return list(path.iterdir()) if path.exists() else []

    def rmdir(self, path: Path) -> None:
        path.rmdir()

    def mtime(self, path: Path) -> datetime:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def atime(self, path: Path) -> datetime:
        return datetime.fromtimestamp(path.stat().st_atime, UTC)

    def size(self, path: Path) -> int:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size if path.exists() else 0

    def delete(self, path: Path) -> None:
        path.unlink()


class InFiles(StorageTests):
    """Files under the test's folder, which other means read and write."""

    resolution = 0.01

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "cache"

    @pytest.fixture
    def around(self, folder: Path) -> Around:
        return Around(
            lambda path: (folder / path).read_bytes(),
            lambda path, data: (folder / path).write_bytes(data),
        )


class TestLocalFiles(InFiles):
    @pytest.fixture
    def open_storage(self, folder: Path) -> Callable[..., Storage]:
        return lambda **options: LocalFileStorage(folder, **options)

    @pytest.fixture
    def url(self, folder: Path) -> str:
        return f"file://{folder}"


class TestMemory(StorageTests):
    resolution = 0.01
    outlives = False
    verifies = False
    locks = False

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"memory://{tmp_path.name}"

    @pytest.fixture
    def open_storage(self, tmp_path: Path) -> Callable[..., Storage]:
        return lambda **options: MemoryStorage(name=tmp_path.name, **options)


class TestNineOperations(InFiles):
    knows = False
    verifies = False
    locks = False

    @pytest.fixture
    def open_storage(self, folder: Path) -> Callable[..., Storage]:
        return lambda **options: Attic(folder, **options)


class TestTwoMethods(InFiles):
    lists = False
    prunes = False
    knows = False
    verifies = False
    limits = False
    locks = False

    @pytest.fixture
    def open_storage(self, folder: Path) -> Callable[..., Storage]:
        return lambda: TwoMethods(folder)

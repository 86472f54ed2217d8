import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from perscache import trouble
from perscache.errors import UnknownPlugin
from perscache.plugins import register, registry, unregister


class Site:
    """A folder on the path where distributions lie as pip leaves them: modules, and metadata beside them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder

    def put(self, distribution: str, version: str = "1.0", *, entry_points: str = "", **modules: str) -> Path:
        """Lay down modules by name and source; gives the folder of the metadata."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        (info / "entry_points.txt").write_text(dedent(entry_points), encoding="utf-8")
        for name, source in modules.items():
            (self.folder / f"{name}.py").write_text(dedent(source), encoding="utf-8")
        return info

    def install(self, distribution: str, version: str = "1.0", *, entry_points: str = "", **modules: str) -> Path:
        """`put`, and let perscache look again."""
        info = self.put(distribution, version, entry_points=entry_points, **modules)
        registry.rescan()
        return info


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    trouble.forget()
    before = set(sys.modules)
    site = Site(tmp_path / "site")
    monkeypatch.syspath_prepend(site.folder)
    yield site
    monkeypatch.undo()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(site.folder)):
            del sys.modules[name]
    registry.rescan()


@pytest.fixture
def bare(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site beside which nothing is installed, whatever the tests run in."""
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not place.endswith("-packages")])
    registry.rescan()
    return site


@pytest.fixture
def registered() -> Iterator[Callable[[Any], Any]]:
    """Register a plugin until the end of the test; gives it back."""
    plugins: list[Any] = []

    def add(plugin: Any) -> Any:
        plugins.append(plugin)
        register(plugin)
        return plugin

    yield add
    for plugin in plugins:
        with suppress(UnknownPlugin):
            unregister(plugin)


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often all installed distributions were asked for, since the test began."""
    asked: list[None] = []

    class Counter:
        @staticmethod
        def find_spec(*_: object) -> None:
            return None

        @staticmethod
        def find_distributions(context: Any) -> list[Any]:
            if context.name is None:
                asked.append(None)
            return []

    monkeypatch.setattr(sys, "meta_path", [Counter, *sys.meta_path])
    return lambda: len(asked)


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], str]:
    """Run Python source as a script in a new process; gives what it printed."""

    def run(source: str) -> str:
        path = tmp_path / "run.py"
        path.write_text(dedent(source), encoding="utf-8")
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run

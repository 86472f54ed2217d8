"""What every test of the core starts from: an empty folder of its own, and no settings from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perscache import Cache, trouble


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("PERSCACHE_")]:
        monkeypatch.delenv(variable)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    trouble.forget()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache on local files."""
    return Cache(storage=tmp_path / "cache")


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Run Python source as a script in a new process; gives what it printed."""

    def run(source: str, *, name: str = "script.py", python: str = sys.executable, **environment: str) -> str:
        path = tmp_path / "work" / name
        path.write_text(source)
        done = subprocess.run(
            [python, str(path)],
            cwd=path.parent,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def perscache() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python -m perscache`` as a process; checks the exit status, 0 unless ``status`` says another."""

    def run(*arguments: object, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "perscache", *map(str, arguments)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run

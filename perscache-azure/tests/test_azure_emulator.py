"""The emulator is found, installed once, or missed with a reason."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from perscache_azure.testing import Unavailable
from perscache_azure.testing.azurite import installed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the programs of these tests are shell scripts")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs that is looked into, and caches of its own."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path


def put(folder: Path, name: str, script: str = "") -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_node_the_reason_is_told(programs: Path):
    with pytest.raises(Unavailable, match="needs node"):
        installed()


def test_without_npm_the_reason_is_told(programs: Path):
    put(programs, "node")

    with pytest.raises(Unavailable, match="needs npm"):
        installed()


def test_what_npm_says_is_told_and_nothing_stays(programs: Path):
    put(programs, "node")
    put(programs, "npm", "echo no such registry >&2; exit 1")

    with pytest.raises(Unavailable, match="no such registry"):
        installed()

    assert list((programs / "caches" / "perscache-azure").iterdir()) == []


def test_it_is_installed_once(programs: Path):
    put(programs, "node")
    make = shutil.which("mkdir", path=os.defpath)
    script = "$3/node_modules/azurite/dist/src/blob"
    put(programs, "npm", f"echo once >> {programs}/ran; {make} -p {script}; : > {script}/main.js")

    first, second = installed(), installed()

    assert first == second
    assert Path(first[1]).is_file()
    assert (programs / "ran").read_text() == "once\n"


def test_one_on_the_path_is_used(programs: Path):
    put(programs, "node")
    put(programs, "azurite-blob")

    assert installed() == [str(programs / "azurite-blob")]

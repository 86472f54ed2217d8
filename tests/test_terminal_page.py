"""The page on the terminal: its commands work as they stand, on a cache of the functions that it speaks of."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from perscache import Cache

PAGE = (Path(__file__).parents[1] / "docs" / "terminal.md").read_text(encoding="utf-8")
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in SHELL.findall(PAGE) for line in block.splitlines()]


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERSCACHE_STORAGE", str(tmp_path / "results"))
    cache = Cache("json")
    prices = cache(name="shop.prices")(lambda day: {"day": day})
    stock = cache(name="shop.stock")(lambda item: "x" * item)
    prices("2024-01-01"), prices("2024-01-02"), stock(5000)


def run(command: str) -> "subprocess.CompletedProcess[str]":
    line = re.sub("^perscache", f"{shlex.quote(sys.executable)} -m perscache", command)
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)


def test_its_commands_work():
    assert len(COMMANDS) > 8
    for command in COMMANDS:
        done = run(command)
        assert done.returncode == 0, command + done.stderr


def test_it_shows_the_heading_of_the_list():
    assert run("perscache ls").stdout.splitlines()[0] in PAGE.splitlines()

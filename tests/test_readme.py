"""The pages tell the truth: each Python block runs alone, and prints what its ``#>`` lines say."""

import functools
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from _pytest.mark import ParameterSet

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("perscache-*/README.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Outcome(NamedTuple):
    status: str
    told: str
    error: str


def blocks(language: str, page: Path, containing: str = "") -> dict[int, str]:
    """The blocks of a page by their lines, with empty lines in front, so that a traceback names the page's line."""
    text = page.read_text(encoding="utf-8")
    found = [(text.count("\n", 0, block.start(2)), block) for block in BLOCK.finditer(text)]
    return {
        line + 1: "\n" * line + block[2] for line, block in found if block[1] == language and containing in block[2]
    }


def cases(language: str, containing: str = "") -> list[ParameterSet]:
    return [
        pytest.param(page, line, id=f"{page.relative_to(ROOT)}:{line}")
        for page in PAGES
        for line in blocks(language, page, containing)
    ]


def run(*command: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PERSCACHE_")}
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, command)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], dict[int, Outcome]]:
    """What became of the Python blocks of a page; they run when the first of them is asked for."""

    @functools.cache
    def ran(page: Path) -> dict[int, Outcome]:
        folder = tmp_path_factory.mktemp("page")
        code = blocks("python", page)
        for line in code:
            (folder / f"{line:04}").mkdir()
            (folder / f"{line:04}" / "example.py").write_text(code[line], encoding="utf-8")
        done = run(ROOT / "tests" / "blocks.py", folder, cwd=folder)
        assert done.returncode == 0, done.stderr
        return {
            line: Outcome(*((folder / f"{line:04}" / part).read_text(encoding="utf-8") for part in Outcome._fields))
            for line in code
        }

    return ran


@pytest.mark.parametrize(("page", "line"), cases("python"))
def test_an_example_runs_and_prints_what_it_says(page: Path, line: int, outcomes: Callable[[Path], dict[int, Outcome]]):
    outcome = outcomes(page)[line]

    assert outcome.status == "0", outcome.error
    promised = re.findall(r"^ *#> ?(.*)$", blocks("python", page)[line], re.MULTILINE)
    assert outcome.told.splitlines() == promised


@pytest.mark.parametrize(("page", "line"), cases("toml", containing="perscache.toml"))
def test_a_configuration_in_a_page_is_accepted(page: Path, line: int, tmp_path: Path):
    (tmp_path / "perscache.toml").write_text(blocks("toml", page)[line], encoding="utf-8")

    done = run("-c", "from perscache import Cache; Cache()", cwd=tmp_path)

    assert done.returncode == 0, done.stderr


def test_the_quickstart_computes_once_and_shows_files_that_exist(tmp_path: Path):
    script = tmp_path / "quickstart.py"
    script.write_text((ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8"), encoding="utf-8")

    done, again = run(script, cwd=tmp_path), run(script, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert again.returncode == 0, again.stderr
    shown = {Path(word) for word in done.stdout.split() if word.startswith(".cache")}
    assert {file.suffix for file in shown} == {".json", ".yaml", ".parquet", ".pickle"}
    for file in shown:
        assert (tmp_path / file).stat().st_size > 1000


def test_every_dependency_is_in_the_table_with_its_reason():
    table = re.findall(r"^\| (?:`(perscache-\w+)`)? ?\|[^|]*\| ([\w-]+)[^|]*\| ([^|]+) \|$", README, re.MULTILINE)
    explained: dict[str, set[str]] = {}
    for distribution, requirement, _ in table:
        explained.setdefault(distribution or list(explained)[-1], set()).add(requirement)

    required = {
        project["name"]: {re.split(r"[ ;<>=\[]", line)[0] for line in project["dependencies"]} - {"perscache-core"}
        for file in ROOT.glob("perscache-*/pyproject.toml")
        for project in [tomllib.loads(file.read_text(encoding="utf-8"))["project"]]
    }
    assert explained == required


def test_the_comparison_is_the_one_that_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    measured = json.loads((ROOT / "benchmarks" / "compare.json").read_text(encoding="utf-8"))
    compare = runpy.run_path(str(ROOT / "benchmarks" / "compare.py"))

    assert compare["table"](measured) in README
    assert compare["plot"](measured) == (ROOT / "benchmarks" / "compare.svg").read_text(encoding="utf-8")

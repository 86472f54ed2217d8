"""The pages tell the truth: each Python block runs alone, and prints what its ``#>`` lines say."""

import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("perscache-*/README.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, containing: str = "") -> list[ParameterSet]:
    return [
        # Empty lines in front, so that a traceback names the line of the page.
        pytest.param("\n" * line + block[2], id=f"{page.relative_to(ROOT)}:{line + 1}")
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for block in BLOCK.finditer(text)
        for line in [text.count("\n", 0, block.start(2))]
        if block[1] == language and containing in block[2]
    ]


def run(script: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PERSCACHE_")}
    return subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=script.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("code", blocks("python"))
def test_an_example_runs_and_prints_what_it_says(code: str, tmp_path: Path):
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")

    done = run(script)

    assert done.returncode == 0, done.stderr
    promised = re.findall(r"^ *#> ?(.*)$", code, re.MULTILINE)
    assert done.stdout.splitlines() == promised


@pytest.mark.parametrize("settings", blocks("toml", containing="perscache.toml"))
def test_a_configuration_in_a_page_is_accepted(settings: str, tmp_path: Path):
    (tmp_path / "perscache.toml").write_text(settings, encoding="utf-8")
    script = tmp_path / "example.py"
    script.write_text("from perscache import Cache\nCache()\n", encoding="utf-8")

    done = run(script)

    assert done.returncode == 0, done.stderr


def test_the_quickstart_computes_once_and_shows_files_that_exist(tmp_path: Path):
    script = tmp_path / "quickstart.py"
    script.write_text((ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8"), encoding="utf-8")

    done, again = run(script), run(script)

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

"""The pages tell the truth: each Python block runs alone, and prints what its ``#>`` lines say."""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("perscache-*/README.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, page: Path, containing: str = "") -> dict[int, str]:
    """The blocks of a page by their lines, with empty lines in front, so that a traceback names the page's line."""
    text = page.read_text(encoding="utf-8")
    found = [(text.count("\n", 0, block.start(2)), block) for block in BLOCK.finditer(text)]
    return {
        line + 1: "\n" * line + block[2] for line, block in found if block[1] == language and containing in block[2]
    }


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run_and_print_what_they_say(page: Path, tmp_path: Path):
    code = blocks("python", page)
    for line, block in code.items():
        (tmp_path / f"{line:04}").mkdir()
        (tmp_path / f"{line:04}" / "example.py").write_text(block, encoding="utf-8")

    done = run(ROOT / "tests" / "blocks.py", tmp_path, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    wrong = []
    for line, block in code.items():
        status, told, error = (
            (tmp_path / f"{line:04}" / part).read_text(encoding="utf-8") for part in ("status", "told", "error")
        )
        promised = re.findall(r"^ *#> ?(.*)$", block, re.MULTILINE)
        if status != "0" or told.splitlines() != promised:
            wrong.append(f"{page.relative_to(ROOT)}:{line} ends with status {status} and prints\n{told}\n{error}")
    assert not wrong, "\n".join(wrong)


def test_no_block_of_python_is_left_out():
    opened = re.compile(r"^ *(?:```|~~~)(.*?)\n.*?^ *(?:```|~~~)$", re.MULTILINE | re.DOTALL)
    known = {"python", "toml", "sh", "text", ""}
    odd = {page.name: set(opened.findall(page.read_text(encoding="utf-8"))) - known for page in PAGES}
    counted = sum(len(re.findall(r"^ *(?:```|~~~)python", page.read_text("utf-8"), re.MULTILINE)) for page in PAGES)

    assert {page: languages for page, languages in odd.items() if languages} == {}
    assert counted == sum(len(blocks("python", page)) for page in PAGES) > 80


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(block, id=f"{page.relative_to(ROOT)}:{line}")
        for page in PAGES
        for line, block in blocks("toml", page, containing="perscache.toml").items()
    ],
)
def test_a_configuration_in_a_page_is_accepted(settings: str, tmp_path: Path):
    (tmp_path / "perscache.toml").write_text(settings, encoding="utf-8")

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


def test_the_comparison_is_the_one_that_was_measured():
    benchmarks = ROOT / "benchmarks"
    results = (benchmarks / "results.json").read_bytes()
    program = "import json, report; print(report.section(json.load(open('results.json', encoding='utf-8'))))"

    section = run("-X", "utf8", "-c", program, cwd=benchmarks)

    assert section.returncode == 0, section.stderr
    compared = README.partition("\n## Compared with others\n")[2].partition("\n## ")[0]
    assert section.stdout in compared
    assert not re.findall(r"\d\S*", compared.replace(section.stdout, "").replace("python3", ""))
    for plot in ("overview.svg", "growth.svg"):
        assert hashlib.sha256(results).hexdigest() in (benchmarks / plot).read_text(encoding="utf-8")

"""What ``perscache new-plugin`` writes is a complete package: a stranger builds and installs it, and its tests pass.

So it is with the plugins in ``examples``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from perscache.cli import main

ROOT = Path(__file__).parents[1]
NAMES = {"serializer": "ini", "storage": "bucket", "fingerprint": "shapely", "observer": "my-metrics"}
EXAMPLES = {folder.name: folder for folder in sorted((ROOT / "examples").glob("perscache-*"))}
LIBRARIES = ["msgspec", "opentelemetry-sdk"]

Python = Callable[..., str]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A package of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    for kind, name in NAMES.items():
        assert main(["new-plugin", name, "--kind", kind, "--folder", str(folder / kind)]) == 0
    return {kind: folder / kind for kind in NAMES}


@pytest.fixture(scope="module")
def python(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Run a module in an environment that has the wheels of packages, examples and core; gives what it printed."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home / "venv", with_pip=False)
    executable = home / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    # Nothing but the wheels is to answer an import.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command: object, cwd: Path = home) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    pip = (sys.executable, "-m", "pip", "--python", executable, "--disable-pip-version-check")
    run(*pip, "install", "-q", "flit_core", "pytest", *LIBRARIES)
    sources = [ROOT / "perscache-core", *packages.values(), *EXAMPLES.values()]
    run(*pip, "wheel", "-q", "--no-build-isolation", "--no-deps", "--wheel-dir", home / "wheels", *sources)
    run(*pip, "install", "-q", *(home / "wheels").glob("*.whl"))
    return lambda *command, **options: run(executable, "-m", *command, **options)


@pytest.mark.parametrize("name", [*NAMES, *EXAMPLES])
def test_its_tests_pass_as_it_stands(packages, python, tmp_path, name):
    package = (packages | EXAMPLES)[name]
    shutil.copytree(package / "tests", tmp_path / "tests")
    shutil.copy(package / "pyproject.toml", tmp_path)
    printed = python("pytest", "-q", "-rs", "-W", "error", cwd=tmp_path)
    assert "passed" in printed
    # What the kit passes over is what the plugin says that it does not offer.
    passed_over = [line for line in printed.splitlines() if line.startswith("SKIPPED")]
    assert all(re.search(r" declares \w+ = False|offers |has no |is |on no ", line) for line in passed_over)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_readme_of_an_example_tells_the_truth(python, tmp_path, name):
    readme = (EXAMPLES[name] / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        (tmp_path / "example.py").write_text(block, encoding="utf-8")
        printed = python("example", cwd=tmp_path)
        assert printed.splitlines() == re.findall(r"^#> ?(.*)$", block, re.MULTILINE)


def test_perscache_finds_and_loads_them_and_nothing_is_wrong(python, tmp_path):
    told = json.loads(python("perscache", "doctor", "--json", cwd=tmp_path))
    found = {offer["name"]: offer for offer in told["plugins"] if offer["distribution"] != "perscache-core"}
    assert {name: offer["kind"] for name, offer in found.items()} == {
        **{name: kind for kind, name in NAMES.items()},
        "msgpack": "serializer",
        "opentelemetry": "observer",
    }
    assert {offer["state"] for offer in found.values()} == {"works"}
    assert told["problems"] == []


def test_it_is_as_tidy_as_its_authors_tools_demand(packages):
    pytest.importorskip("ruff", reason="ruff is a tool of the repository")
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--no-cache", "--line-length", "120", "--target-version", "py311"]
    for package in packages.values():
        for command in (["check", "--select", "B,E,F,I,RUF,SIM,UP,W"], ["format", "--check"]):
            done = subprocess.run([*ruff, *command, *options], cwd=package, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout


def test_its_types_are_what_strict_checkers_accept(packages, tmp_path):
    pytest.importorskip("mypy", reason="mypy is a tool of the repository")
    sources = [file for package in packages.values() for file in package.rglob("*.py")]
    path = os.pathsep.join(str(package / "src") for package in packages.values())
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", tmp_path, *sources],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout

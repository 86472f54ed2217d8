"""Test distributions as their users get them: each from its wheel, in a clean environment, away from the sources.

    python3 .ci/alone.py FOLDER perscache-core perscache-yaml

An environment, ``FOLDER/<distribution>/environment``, holds the distribution, the core's wheel, what both require, and
the distribution's extra ``test``. The tests run from a copy, so that nothing but the wheel can answer an import.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = "perscache-core"
# What takes long and asks for the code, not for what the wheel holds and requires: all tests of the tree have it.
NOT_THESE = "not processes and not leases and not trouble and not limits"


def main(folder: Path, distributions: list[str]) -> int:
    """Test each of the named distributions in ``folder``; the exit code is the number that failed."""
    wheels = build_wheels({CORE, *distributions}, folder / "wheels")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        passed = list(pool.map(lambda name: passes_alone(name, wheels, folder / name), distributions))
    for name, good in zip(distributions, passed, strict=True):
        print(f"{'ok' if good else 'FAILED':8}{name}")
    return passed.count(False)


def build_wheels(names: set[str], folder: Path) -> dict[str, Path]:
    """The wheel of each distribution, built in ``folder``."""
    sources = [str(ROOT / name) for name in sorted(names)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), *sources], check=True
    )
    return {wheel.name.partition("-")[0].replace("_", "-"): wheel for wheel in folder.glob("*.whl")}


def passes_alone(name: str, wheels: dict[str, Path], home: Path) -> bool:
    """Whether the wheel is complete, and its tests pass in an environment made for it in ``home``."""
    environment = home / "environment"
    venv.create(environment, with_pip=True, clear=True)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    shutil.copytree(ROOT / name / "tests", home / name / "tests")
    shutil.copy(ROOT / "pyproject.toml", home)
    told = complaints(wheels[name])
    passed = not told
    install = ["pip", "install", "-q", str(wheels[CORE]), f"{wheels[name]}[test]"]
    tests = ["pytest", "-q", f"{name}/tests"] + ([] if name == CORE else ["-k", NOT_THESE])
    for command in (install, tests):
        done = subprocess.run(
            [python, "-m", *command], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        told.append(done.stdout)
        passed = passed and done.returncode == 0
    print(f"-- {name} on Python {sys.version.partition(' ')[0]}", *told, sep="\n", flush=True)
    return passed


def complaints(wheel: Path) -> list[str]:
    """What keeps the wheel from being the package, its metadata, the licence and the marker of typed packages."""
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        licences = [archive.read(file) for file in files if file.endswith("/LICENSE")]
    found = [f"{wheel.name} holds {file}" for file in files if not file.startswith("perscache") or "/." in file]
    if licences != [(ROOT / "LICENSE").read_bytes()]:
        found.append(f"{wheel.name} lacks a copy of the root's LICENSE")
    if not any(file.endswith("/py.typed") for file in files):
        found.append(f"{wheel.name} lacks py.typed")
    return found


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))

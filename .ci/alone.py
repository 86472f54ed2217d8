"""Test distributions as their users get them: each from its wheel, in a clean environment, away from the sources.

    python3 .ci/alone.py FOLDER perscache-core perscache-yaml

An environment, ``FOLDER/<distribution>/environment``, holds the distribution, the core's wheel, what both require, and
the distribution's extra ``test``. The tests run from a copy, so that nothing but the wheel can answer an import.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = "perscache-core"


def main(folder: Path, distributions: list[str]) -> int:
    """Test each of the named distributions in ``folder``; the exit code is the number that failed."""
    wheels = build_wheels({CORE, *distributions}, folder / "wheels")
    results = {name: is_complete(wheels[name]) and passes_alone(name, wheels, folder / name) for name in distributions}
    for name, passed in results.items():
        print(f"{'ok' if passed else 'FAILED':8}{name}")
    return sum(not passed for passed in results.values())


def build_wheels(names: set[str], folder: Path) -> dict[str, Path]:
    """The wheel of each distribution, built in ``folder``."""
    sources = [str(ROOT / name) for name in sorted(names)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), *sources], check=True
    )
    return {wheel.name.partition("-")[0].replace("_", "-"): wheel for wheel in folder.glob("*.whl")}


def is_complete(wheel: Path) -> bool:
    """Whether the wheel carries the licence and the marker of typed packages, and nothing but package and metadata."""
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        licences = [archive.read(file) for file in files if file.endswith("/LICENSE")]
    complaints = [f"holds {file}" for file in files if not file.startswith("perscache") or "/." in file]
    if licences != [(ROOT / "LICENSE").read_bytes()]:
        complaints.append("lacks a copy of the root's LICENSE")
    if not any(file.endswith("/py.typed") for file in files):
        complaints.append("lacks py.typed")
    for complaint in complaints:
        print(f"{wheel.name} {complaint}")
    return not complaints


def passes_alone(name: str, wheels: dict[str, Path], home: Path) -> bool:
    """Whether the tests of the distribution pass in an environment made for it in ``home``."""
    print(f"-- {name} on Python {sys.version.partition(' ')[0]}", flush=True)
    environment = home / "environment"
    venv.create(environment, with_pip=True, clear=True)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    shutil.copytree(ROOT / name / "tests", home / name / "tests")
    shutil.copy(ROOT / "pyproject.toml", home)
    install = [str(python), "-m", "pip", "install", "-q", str(wheels[CORE]), f"{wheels[name]}[test]"]
    test = [str(python), "-m", "pytest", "-q", f"{name}/tests"]
    return all(subprocess.run(command, cwd=home, check=False).returncode == 0 for command in (install, test))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))

"""A key is the same in every process: hash seeds, versions of Python, ways to start, places, pytest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PYTHONS = os.environ.get("PERSCACHE_PYTHONS", "").split(os.pathsep)  # read before tests are shielded from it
SOURCE = Path(__file__).parents[1] / "src"

PROGRAM = '''
import dataclasses, datetime, decimal, enum, functools, fractions, ipaddress, pathlib, random, re, typing, uuid
from perscache import Cache
from perscache.key import KeyBuilder

LIMITS = {"b": {3, 1, 2}, "a": frozenset({"x", "y", "z"})}
ROOT = pathlib.Path(__file__).parent / "data"
PATTERN = re.compile("a+")

class Colour(enum.Enum):
    RED = 1
    def shout(self):
        return self.name.upper()

@dataclasses.dataclass
class Point:
    x: int
    y: "int" = 0
    tags: set = dataclasses.field(default_factory=set)
    def norm(self):
        return abs(self.x) + abs(self.y)

@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Slim:
    a: int = 1

class Pair(typing.NamedTuple):
    a: int
    b: str = "b"

def trace(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

@trace
def helper(x, *, by=min):
    assert x is not None, f"{x!r} is {x:>{4}}"
    return [by(item) for item in x if (y := item)], LIMITS, __name__

@functools.singledispatch
def show(x):
    return str(x)

@show.register
def _(x: int):
    return f"{x:05d}"

class Model:
    scale = 2
    def __init__(self, n):
        self.n = n
    @functools.cached_property
    def heavy(self):
        return self.n ** 2
    def fit(self, x):
        """Fit."""
        try:
            with open(ROOT / str(x)) as file:
                return [show(line) for line in file if PATTERN.match(line)]
        except* ValueError:
            self.n = super().__repr__()

def subject(value, *rest, flag=True, **options):
    from json import dumps
    match value:
        case Point(x=0):
            return helper(rest), Colour.RED, Slim(), Pair(1)
        case [first, *_]:
            return {k: v for k, v in options.items()}, lambda q=flag: dumps(q)
    return Model(3).fit(value)

def key():
    builder = KeyBuilder(subject, serializer="json:1")
    values = [
        {3, 1, 2}, {"x", "yy", "zzz"}, {"b": 1, "a": {("t", 1), ("s", 2)}}, Point(1, 2, {"p", "q"}), Slim(2), Pair(3),
        Colour.RED, Model(4), helper, show, Model, subject, lambda x: x + 1, functools.partial(helper, 1, by=max),
        decimal.Decimal("1.50"), fractions.Fraction(1, 3), uuid.UUID(int=9), datetime.datetime(2020, 1, 2, fold=1),
        datetime.timezone.utc, pathlib.PurePosixPath("a/b"), ipaddress.ip_address("1.2.3.4"), ValueError("a"), 2**100,
        -0.0, "\\ud800", range(4), re.compile("x", re.I), random.Random(1), int | None, list[int], typing.Optional[str],
        {int: len, str: helper}, bytearray(b"12"), b"1" * 10000, "t" * 10000, [[["deep"]]], float("nan"),
    ]
    keys = [builder.digest((value, 1), {"z": 1, "a": value}) for value in values]
    return " ".join([builder.function_name, *keys])

if __name__ == "__main__":
    print(key())
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return _package(tmp_path / "project")


def _package(project: Path) -> Path:
    (project / "pack").mkdir(parents=True)
    (project / "pack" / "__init__.py").touch()
    (project / "pack" / "program.py").write_text(PROGRAM)
    return project


def _run(*command: str, project: Path, seed: str = "0", python: str = sys.executable) -> str:
    places = [str(project), str(SOURCE)]
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": os.pathsep.join(places),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [python, *command], env=environment, cwd=project, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


IMPORTED = ("-c", "import pack.program; print(pack.program.key())")


@pytest.mark.parametrize("seed", ["1", "2", "3", "random"])
def test_a_key_does_not_hang_on_the_hash_seed(package: Path, seed: str) -> None:
    assert _run(*IMPORTED, project=package, seed=seed) == _run(*IMPORTED, project=package)


def test_a_key_is_the_same_as_a_script_with_m_and_imported(package: Path) -> None:
    imported = _run(*IMPORTED, project=package)
    assert _run("pack/program.py", project=package) == imported
    assert _run(str(package / "pack" / "program.py"), project=package) == imported
    assert _run("-m", "pack.program", project=package) == imported


def test_a_key_is_the_same_after_the_project_has_moved(package: Path, tmp_path: Path) -> None:
    before = _run(*IMPORTED, project=package)
    shutil.move(package, tmp_path / "elsewhere")
    assert _run(*IMPORTED, project=tmp_path / "elsewhere") == before


def test_a_key_is_the_same_under_optimisation(package: Path) -> None:
    assert _run("-O", *IMPORTED, project=package) == _run(*IMPORTED, project=package)


def test_a_key_is_the_same_under_rewritten_assertions(package: Path) -> None:
    (package / "test_it.py").write_text(
        "import pytest\npytest.register_assert_rewrite('pack.program')\n"
        "def test_it():\n    import pack.program\n    print()\n    print(pack.program.key())\n"
    )
    options = ("-q", "-s", "-p", "no:cacheprovider", "--no-header", "--no-summary")
    places = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), str(SOURCE)])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_it.py"],
        env=places, cwd=package, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert _run(*IMPORTED, project=package) in done.stdout.splitlines()


# Under pytest and Python 3.11 an import fails where another thread parses (gh-106905).
STUMBLING = """
import sys
from importlib.abc import MetaPathFinder

class Stumbling(MetaPathFinder):
    stumbled = set()

    def find_spec(self, name, path=None, target=None):
        if name not in self.stumbled and name.startswith(("perscache.fingerprint.", "pack.more")):
            self.stumbled.add(name)
            raise SystemError("AST constructor recursion depth mismatch")
        return None

from perscache.fingerprint import encoder
sys.meta_path.insert(0, Stumbling())
import pack.program
from perscache.key import KeyBuilder

def late(x):
    import pack.more
    return pack.more.f(x), pack.program.ROOT

print(pack.program.key(), KeyBuilder(late, name="late").digest((pack.program.ROOT,), {}))
assert len(Stumbling.stumbled) > 3, Stumbling.stumbled
"""


def test_a_key_is_the_same_where_imports_fail_for_a_moment(package: Path) -> None:
    (package / "pack" / "more.py").write_text("def f(x):\n    return x + 1\n")
    (package / "stumbling.py").write_text(STUMBLING)
    (package / "walking.py").write_text(STUMBLING.replace("sys.meta_path", "[]").replace("assert ", "# "))
    assert _run("stumbling.py", project=package) == _run("walking.py", project=package)


def _others() -> list[str]:
    """Other versions of Python with our dependencies, from PERSCACHE_PYTHONS or the search path."""
    found = [shutil.which(f"python3.{minor}") or "" for minor in (11, 12, 13) if minor != sys.version_info.minor]
    usable = []
    for python in filter(None, [*PYTHONS, *found]):
        probe = subprocess.run(
            [python, "-c", "import blake3, cloudpickle, pluggy, xxhash"], capture_output=True, check=False
        )
        if probe.returncode == 0:
            usable.append(python)
    return usable


def test_a_key_is_the_same_on_all_versions_of_python(package: Path) -> None:
    pythons = _others()
    if not pythons:
        pytest.skip("no other Python here has blake3, cloudpickle, pluggy and xxhash; name some in PERSCACHE_PYTHONS")
    here = _run(*IMPORTED, project=package)
    for python in pythons:
        assert _run(*IMPORTED, project=package, python=python) == here, python


def test_code_without_a_file_has_one_key_in_all_processes(package: Path) -> None:
    text = textwrap.dedent("""
        from perscache.key import KeyBuilder
        scope = {"__name__": "made"}
        exec("def f(x): return {1, 2} | {x, 'a', 'b'}", scope)
        print(KeyBuilder(scope["f"]).digest((1,), {}), KeyBuilder(lambda x: x in {"a", "b", "c"}).digest((1,), {}))
    """)
    assert len({_run("-c", text, project=package, seed=seed) for seed in "0123"}) == 1

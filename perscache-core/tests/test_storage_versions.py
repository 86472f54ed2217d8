"""Two versions of the library at once on one folder: each has its own way, and neither breaks what is the other's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import perscache

LIMIT = 40
# What the next version may write otherwise, each as it would be changed.
KEYS = [("fingerprint/encoder.py", r"^SCHEMA = (\d+)$", r"SCHEMA = \g<1>1")]
REST = [
    ("storage/seal.py", r"psc\\x01", r"psc\\x02"),
    ("storage/seal.py", r"perscache 1", r"perscache 2"),
    ("storage/layout.py", r"xxh3_64_intdigest\(path\.encode\(\)\)", "xxh3_64_intdigest(path.encode(), 2)"),
    ("storage/journal.py", r"xxh3_64_hexdigest\(body\)", "xxh3_64_hexdigest(body, 2)"),
    ("storage/usage.py", r"index \+ 1\)", "index + 1001)"),
    ("acceptance.py", r"^_SCHEMA: Final = 1$", "_SCHEMA: Final = 2"),
]

SPEAKER = """
import json, sys, warnings
import perscache
from perscache import Cache
from perscache.serializers import make_serializer
from perscache.storage import LocalFileStorage

warnings.simplefilter("ignore")
storage = LocalFileStorage("cache", max_entries=int(sys.argv[1]))
loads = lambda data: json.loads(bytes(data))
dumps = lambda value: json.dumps(value).encode() + b"\\n"
others = [make_serializer(extension, extension, dumps, loads)() for extension in ("yaml", "txt")]
functions = [Cache(each, storage)(name="f")(lambda x: {"x": x}) for each in ("pickle", "json", *others)]

def home():
    return perscache.__file__

def call(x):
    return functions[x % 4](x)

def hits():
    return sum(f.cache_info().hits for f in functions)

def entries():
    return sum(1 for entry in storage.entries() if storage.peek(entry.path))

def prune():
    return storage.prune(3600)

def clear():
    return storage.clear()

for line in sys.stdin:
    name, *arguments = json.loads(line)
    print(json.dumps(globals()[name](*arguments)), flush=True)
"""


class Speaker:
    """A process of one version, that does what it is asked to."""

    def __init__(self, script: Path, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(LIMIT)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            process = self._process
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps([name, *arguments]), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        return ask

    def close(self) -> None:
        assert self._process.communicate(timeout=60) == ("", None)
        assert self._process.returncode == 0


def next_version(folder: Path, changes: list[tuple[str, str, str]]) -> Path:
    """A folder with the package, so changed."""
    package = folder / "perscache"
    shutil.copytree(Path(perscache.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, pattern, replacement in changes:
        file = package / name
        text, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
        assert count, f"{name} has no {pattern} any more"
        file.write_text(text)
    return folder


@pytest.fixture(params=["with keys of its own", "with the same keys"])
def speakers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Speaker, Speaker, bool]]:
    apart = request.param == "with keys of its own"
    script = tmp_path / "speaker.py"
    script.write_text(SPEAKER)
    newer = next_version(tmp_path / "newer", [*KEYS, *REST] if apart else REST)
    pair = Speaker(script), Speaker(script, PYTHONPATH=str(newer))
    yield *pair, apart
    for each in pair:
        each.close()


def test_each_gets_its_values_and_no_trouble(speakers):
    old, new, apart = speakers
    assert old.home() != new.home()
    for x in [*range(16), *range(16)]:
        assert old.call(x) == new.call(x) == {"x": x}
    if apart:  # else each finds the other's seals broken, and computes
        assert old.hits() == new.hits() == 16
    assert old.entries() <= LIMIT
    assert old.prune() == new.prune() == 0

    def call_many(each: Speaker) -> None:
        for x in range(100):
            assert each.call(x) == {"x": x}

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(call_many, (old, new)))
    assert sum(1 for file in Path("cache/f").iterdir() if file.name[0] != ".") <= 2 * LIMIT
    for each in (old, new, old):
        each.clear()
        assert old.call(1) == new.call(1) == {"x": 1}

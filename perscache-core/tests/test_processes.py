"""Results outlive the process: other processes, hash seeds and Python versions hit the same files."""

from __future__ import annotations

import json
import os
import sys

import pytest

SCRIPT = """
import json, sys
from dataclasses import dataclass
from perscache import Cache

@dataclass(frozen=True)
class Point:
    x: int
    tags: frozenset

cache = Cache("json", "shared")
FACTOR = {"a": 2, "b": {"x", "y", "z"}}

def helper(x):
    return x * FACTOR["a"]

@cache
def f(x, names=frozenset({"p", "q", "r"}), *, point=Point(1, frozenset({"k", "l", "m"}))):
    return helper(x)

class Model:
    def __init__(self):
        self.words = {"one", "two", "three"}

    @cache
    def method(self, x):
        return x

print(json.dumps([f(2), f.cache.key(2), f.cache_info().hits, Model().method(1), Model.method.cache_info().hits]))
"""


def test_another_process_hits_whatever_its_hash_seed(script):
    outputs = [json.loads(script(SCRIPT, PYTHONHASHSEED=seed)) for seed in ("1", "2", "random")]
    assert outputs[0] == [4, outputs[0][1], 0, 1, 0]
    assert outputs[1:] == [[4, outputs[0][1], 1, 1, 1]] * 2


OTHER_PYTHONS = list(filter(None, os.environ.get("PERSCACHE_PYTHONS", "").split(os.pathsep)))


@pytest.mark.skipif(not OTHER_PYTHONS, reason="PERSCACHE_PYTHONS names no interpreters with perscache installed")
def test_every_python_hits_the_same_files(script):
    outputs = [json.loads(script(SCRIPT, python=python)) for python in (sys.executable, *OTHER_PYTHONS)]
    assert outputs == [[4, outputs[0][1], hits, 1, hits] for hits in (0, *(1 for _ in OTHER_PYTHONS))]

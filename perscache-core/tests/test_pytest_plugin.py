"""The pytest plugin, in runs of its own: tests do not meet through the cache, a run has one mode, calls are counted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from perscache.modes import Mode
from perscache.storage import LocalFileStorage

pytest_plugins = "pytester"

Inner = Callable[..., pytest.RunResult]

# Other plugins that may be installed here, and take most of the time that a small run takes.
QUIET = ("-p", "no:asyncio", "-p", "no:hypothesispytest")

APP = """
from perscache import Cache

cache = Cache("json")
ran = []

@cache
def square(x):
    ran.append(x)
    return x * x
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:
    """Run pytest in a new process, in a folder with ``app.py``; every warning there is an error."""
    monkeypatch.chdir(pytester.path)
    pytester.makepyfile(app=APP)

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*QUIET, "-W", "error", *arguments, timeout=120)

    return run


def stored(folder: str | Path) -> list[str]:
    return sorted(entry.arguments for entry in LocalFileStorage(folder).entries())


# --- A storage for each test.


def test_each_test_has_a_storage_of_its_own_whenever_the_caches_were_made(pytester, inner):
    pytester.makepyfile(
        test_shop="""
        import subprocess, sys
        import app

        def test_one(perscache_isolated, tmp_path):
            assert app.square(2) == app.square(2) == 4
            assert app.ran == [2]
            assert [entry.arguments for entry in perscache_isolated.entries()] == ["x=2"]
            assert tmp_path in perscache_isolated.location.parents

        def test_another(perscache_isolated):
            assert app.square(2) == 4
            assert app.ran == [2, 2]
            assert app.square.cache_info().misses == 1

        def test_made_here(perscache_isolated):
            import late
            assert late.cube(2) == 8
            assert len(list(perscache_isolated.entries())) == 1

        def test_processes(perscache_isolated):
            subprocess.run([sys.executable, "-c", "import app; app.square(3)"], check=True)
            assert app.square(3) == 9
            assert 3 not in app.ran

        def test_without():
            import late
            assert app.square(4) == 16
            assert late.cube(4) == 64
        """,
        late="""
        from perscache import Cache

        @Cache()
        def cube(x):
            return x ** 3
        """,
    )
    result = inner()
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["perscache: 2 hits, 5 misses, * saved"])
    assert stored(".cache") == ["x=4", "x=4"]


def test_a_whole_project_is_isolated_by_one_setting(pytester, inner):
    pytester.makeini("[pytest]\nusefixtures = perscache_isolated")
    pytester.makepyfile(
        """
        import app, pytest

        @pytest.mark.parametrize("round", range(3))
        def test_it(round):
            app.square(2)
            assert len(app.ran) == round + 1
        """
    )
    inner().assert_outcomes(passed=3)
    assert not Path(".cache").exists()


# --- One mode for a run.

OFFLINE = """
    import os, pytest, app
    from perscache import CacheMiss

    def test_it():
        assert os.environ["PERSCACHE_MODE"] == "offline"
        with pytest.raises(CacheMiss):
            app.square(2)
"""


@pytest.mark.parametrize("place", ["command line", "file", "command line over environment"])
def test_a_run_has_the_mode_that_it_is_told(pytester, inner, monkeypatch, place):
    pytester.makepyfile(OFFLINE)
    arguments = ["--perscache-mode=offline"]
    if place == "file":
        pytester.makeini("[pytest]\nperscache_mode = offline")
        arguments = []
    elif place == "command line over environment":
        monkeypatch.setenv("PERSCACHE_MODE", "bypass")
    result = inner(*arguments)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["perscache: all caches are in the mode 'offline'", "perscache: 0 hits, 0 misses"])


def test_the_environment_is_stronger_than_the_file(pytester, inner, monkeypatch):
    monkeypatch.setenv("PERSCACHE_MODE", "bypass")
    pytester.makeini("[pytest]\nperscache_mode = offline")
    pytester.makepyfile(
        "import app\ndef test_it():\n    assert app.square(2) + app.square(2) == 8 and app.ran == [2, 2]"
    )
    inner().assert_outcomes(passed=1)


@pytest.mark.parametrize("maker", ["conftest", "earlier plugin"])
def test_the_mode_holds_for_caches_made_before_the_tests(pytester, inner, maker):
    pytester.makepyfile(OFFLINE)
    if maker == "conftest":
        pytester.makeconftest("import app")
        inner("--perscache-mode=offline").assert_outcomes(passed=1)
    else:
        inner("-p", "app", "--perscache-mode=offline").assert_outcomes(passed=1)


def test_a_mode_that_is_none_ends_the_run_with_a_suggestion(inner):
    result = inner("--perscache-mode=ofline")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--perscache-mode: 'ofline' is no mode: did you mean 'offline'?"])


def test_the_help_names_every_mode(inner):
    words = inner("--help").stdout.str().replace(",", " ").split()
    assert {mode.label for mode in Mode} <= set(words)
    assert {"--perscache-mode=MODE", "perscache_mode"} <= {word.strip("():") for word in words}


# --- How calls went.


def test_calls_of_functions_that_are_gone_are_counted(pytester, inner):
    pytester.makepyfile(
        """
        import gc
        from perscache import Cache

        def test_it(tmp_path):
            f = Cache(storage=tmp_path)(lambda: 1)
            f(), f()
            del f
            gc.collect()
        """
    )
    inner("--perscache-mode=normal").stdout.fnmatch_lines(["perscache: 1 hit, 1 miss, * saved"])


def test_calls_in_the_workers_of_xdist_are_counted_together(pytester, inner):
    if find_spec("xdist") is None:
        pytest.skip("pytest-xdist is not installed")
    pytester.makepyfile(
        """
        import app, pytest

        @pytest.mark.parametrize("x", range(6))
        def test_it(perscache_isolated, x):
            app.square(x), app.square(x)
        """
    )
    result = inner("-n", "2")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["perscache: 6 hits, 6 misses, * saved"])
    assert not Path(".cache").exists()


def test_a_run_within_a_run_counts_its_own_and_leaves_no_mode(pytester, inner, monkeypatch):
    pytester.makepyfile(test_inner="import app\ndef test_it():\n    app.square(1)\n    app.square(1)")
    program = """
import os, sys, app, pytest
app.square(1), app.square(1), app.square(2)
assert pytest.main(["-W", "error", "--perscache-mode=readonly", *sys.argv[1:]]) == 0
assert "PERSCACHE_MODE" not in os.environ
assert app.square.cache_parameters()["mode"] == "normal"
"""
    command = [sys.executable, "-c", program, *QUIET]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "perscache: 2 hits, 0 misses" in done.stdout


# --- Whoever does not use it.


def test_a_run_that_uses_nothing_imports_and_says_nothing(pytester, inner):
    pytester.makepyfile(
        """
        import sys

        def test_it():
            ours = {name for name in sys.modules if name.partition(".")[0] == "perscache"}
            assert ours == {"perscache", "perscache.pytest_plugin"}
        """
    )
    result = inner()
    result.assert_outcomes(passed=1)
    assert "perscache:" not in result.stdout.str()


def test_it_can_be_loaded_by_a_conftest_and_be_left_out(pytester, inner, monkeypatch):
    pytester.makepyfile("def test_it(perscache_isolated):\n    pass")
    inner("-p", "no:perscache").assert_outcomes(errors=1)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest('pytest_plugins = "perscache.pytest_plugin"')
    result = inner()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["perscache: 0 hits, 0 misses"])

"""The pytest plugin: a storage of its own for a test, one mode for a whole run, and how the calls of the run went.

pytest imports this module in every run. So it imports nothing of perscache, and says nothing, until it is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from .counts import Counts
    from .storage import LocalFileStorage

_MODES: Final = "normal, refresh, bypass, readonly or offline"


@pytest.fixture
def perscache_isolated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalFileStorage]:
    """Gives a storage of the test's own, under its tmp_path, that takes the place of the default one.

    It serves the caches of the code under test too, and those of processes that the test starts. Counts and warnings
    begin anew. A storage that code names stays as it is.
    """
    from .isolation import isolated

    request.config.stash[_RUN].used = True
    with isolated(tmp_path / ".cache") as storage:
        yield storage


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a run can be told."""
    parser.getgroup("perscache").addoption(
        "--perscache-mode", metavar="MODE", default="", help=f"run with all caches in this mode: {_MODES}"
    )
    parser.addini("perscache_mode", f"the mode of all caches, if PERSCACHE_MODE says none: {_MODES}", default="")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before code of the project is imported and makes caches."""
    _begin(early_config, early_config.known_args_namespace.perscache_mode)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Begin now, where a conftest.py has loaded this plugin."""
    if _RUN not in config.stash:
        _begin(config, config.option.perscache_mode)


def pytest_report_header(config: pytest.Config) -> str | None:
    """The mode, where the run was told one."""
    mode = config.stash[_RUN].mode
    return f"perscache: all caches are in the mode {mode!r}" if mode else None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells how its calls went."""
    run = session.config.stash[_RUN]
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None and run.used:
        output["perscache"] = list(run.counts())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has told how its calls went."""
    told = getattr(node, "workeroutput", {}).get("perscache")
    if told is not None:
        run = node.config.stash[_RUN]
        run.used = True
        run.told.append(told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How the calls of the run went, where anything of this was used."""
    run = config.stash[_RUN]
    if run.used:
        terminalreporter.write_line(_spelled(run.counts()))


class _Run:
    """What a run uses of perscache, and how its calls went."""

    def __init__(self, mode: str) -> None:
        self.mode: Final = mode
        self.used = bool(mode)
        self.told: Final[list[list[Any]]] = []
        """What other processes counted."""
        statistics = sys.modules.get("perscache.statistics")
        self._before: Final[Counts | None] = None if statistics is None else statistics.of_process()

    def counts(self) -> Counts:
        """How calls went since the run began, here and in the processes that told."""
        from . import statistics
        from .counts import Counts

        counts = statistics.of_process()
        if self._before is not None:
            counts = counts.minus(self._before)
        for told in self.told:
            counts = counts.plus(Counts._make(told))
        return counts


_RUN: Final = pytest.StashKey[_Run]()


def _begin(config: pytest.Config, asked: str) -> None:
    mode, source = asked, "--perscache-mode"
    if not mode and not os.environ.get("PERSCACHE_MODE"):
        mode, source = config.getini("perscache_mode"), f"perscache_mode in {config.inipath}"
    config.stash[_RUN] = _Run(mode)
    if mode:
        from .errors import ConfigurationError
        from .modes import Mode, pinned

        until_the_end = ExitStack()
        try:
            until_the_end.enter_context(pinned(Mode.named(mode)))
        except ConfigurationError as error:
            raise pytest.UsageError(f"{source}: {error}") from error
        config.add_cleanup(until_the_end.close)


def _spelled(counts: Counts) -> str:
    from .units import spelled_duration

    told = [f"{counts.hits:,} {'hit' if counts.hits == 1 else 'hits'}"]
    told += [f"{counts.misses:,} {'miss' if counts.misses == 1 else 'misses'}"]
    if counts.errors:
        told += [f"{counts.errors:,} {'error' if counts.errors == 1 else 'errors'} survived"]
    if counts.hits:
        told += [f"{spelled_duration(counts.saved)} saved"]
    return f"perscache: {', '.join(told)}"

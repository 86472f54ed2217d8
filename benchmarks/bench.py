"""The bench: how much is measured, where, and in whose environments; it asks everybody in turn."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from findings import OURS, Findings, Target
from process import FAILS, HERE, PATIENCE, Environment, NotInstalledError, Process

ROOT = HERE.parent
VALUES = " and all kinds of values"
REMOTE, PLOTS = "remote storages", "matplotlib"
FLOOR = "a file"
OLD = "perscache 0.7.1"
CORE = str(ROOT / "perscache-core")
REMOTES = ("gcs", "s3", "redis", "azure")

_PEERS = {
    "joblib": ["joblib", "numpy", "pandas"],
    "diskcache": ["diskcache", "numpy"],
    "checkpointer": ["checkpointer", "numpy"],
    "cashews": ["cashews[diskcache]", "numpy"],
    "klepto": ["klepto", "numpy"],
    "cachier": ["cachier", "numpy"],
    "dogpile.cache": ["dogpile.cache", "numpy"],
    OLD: ["perscache==0.7.1", "numpy"],
}
PEERS = tuple(_PEERS)
# Libraries whose values are keyed, and pytest, since the cases are those of our own tests.
_KEYED = ["numpy", "pandas", "pyarrow", "polars", "xarray", "scipy", "pytest"]
REQUIREMENTS: dict[str, list[str]] = {
    # What takes longest to install comes first.
    REMOTE: [CORE, *(f"{ROOT / f'perscache-{name}'}[testing]" for name in REMOTES)],
    OURS: [CORE, *(str(ROOT / f"perscache-{name}") for name in ("numpy", "parquet")), "pandas"],
    **_PEERS,
    **{name + VALUES: [name, *_KEYED] for name in ("joblib", "dask", "checkpointer")},
    OURS + VALUES: [CORE, *_KEYED],
    PLOTS: ["matplotlib"],
}
"""What each environment holds."""


class Extent(NamedTuple):
    """How much is measured."""

    rounds: int
    entries: tuple[int, ...]
    """Sizes of the stores."""
    arguments: tuple[int, ...]
    """Bytes of an array that is an argument."""
    array: int
    """Bytes of an array that is a result."""
    keyed: int
    """Bytes of an array that is keyed."""
    rows: int
    """Rows of a frame."""
    leaves: int
    """Leaves of a nested dict."""
    crowds: tuple[int, ...]
    """Processes side by side."""
    awaits: int
    """Awaits of one key."""
    patience: int
    """Seconds for filling a store."""
    cores: int = os.cpu_count() or 1


FULL = Extent(
    rounds=7,
    entries=(10**3, 10**4, 10**5, 10**6),
    arguments=(10**3, 10**4, 10**5, 10**6, 10**7, 10**8),
    array=10**9,
    keyed=10**8,
    rows=10**6,
    leaves=100_000,
    crowds=(1, 2, 4, 8),
    awaits=10_000,
    patience=20,
)
QUICK = Extent(
    rounds=2,
    entries=(10**3, 10**4),
    arguments=(10**3, 10**7),
    array=10**7,
    keyed=10**6,
    rows=10**4,
    leaves=10**4,
    crowds=(1, 2),
    awaits=10**3,
    patience=2,
)


class Job(NamedTuple):
    """Tasks that a library is asked for once, before anything is measured."""

    script: str
    library: str
    tasks: tuple[str, ...]
    apart: bool = False
    """Whether in a process and a folder of its own, which no later measurement shares."""
    patience: float = PATIENCE
    """Seconds a task."""


class Chapter(Protocol):
    """A part of the benchmarks: a module."""

    @property
    def ENVIRONMENTS(self) -> tuple[str, ...]:  # noqa: N802 - a constant of the module
        """Those that it asks in."""
        ...

    def prepare(self, extent: Extent) -> list[Job]:
        """What is to be done before anything is measured."""
        ...

    def measure(self, bench: Bench) -> None:
        """Ask for everything."""
        ...

    def tables(self, found: Findings, extent: Extent) -> Iterator[str]:
        """What was found, in Markdown."""
        ...

    def targets(self, found: Findings, extent: Extent) -> Iterator[Target]:
        """What was aimed at, beside what was reached."""
        ...


class Bench:
    """Environments, processes and answers of one run, in ``folder``."""

    def __init__(self, folder: Path, extent: Extent) -> None:
        self.folder, self.extent = folder, extent
        self.answers: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self._environments: dict[str, Future[Environment]] = {}
        self._processes: dict[Path, Process] = {}
        self._failed: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    # --- Before anything is measured.

    def prepare(self, environments: Iterable[str], jobs: Iterable[Job]) -> None:
        """Set up what is needed: the environments first, then the jobs that need them, as many at once as cores."""
        needed = set(environments)
        with self.timed("environments, stores of many entries, answers"), ThreadPoolExecutor(os.cpu_count()) as threads:
            for name, requirements in REQUIREMENTS.items():
                if name in needed:
                    place = self.folder / "environments" / name
                    self._environments[name] = threads.submit(Environment, place, requirements)
            # No job is begun before the last environment was, so that waiting for that one ends.
            asked = [threads.submit(self._do, job) for job in dict.fromkeys(jobs)]
            for name, environment in self._environments.items():
                if (error := environment.exception()) and (name == OURS or not isinstance(error, NotInstalledError)):
                    raise error
            for done in asked:
                done.result()
            if hasattr(os, "sync"):  # What the disk has to do for this is no part of what comes.
                os.sync()

    def _do(self, job: Job) -> None:
        for task in job.tasks:
            answer = self._asked(job.script, job.library, task, job.patience, apart=job.apart)
            self._keep(task, job.library, answer, several=False)
        if job.apart:
            place = self._place(job.script, job.library, apart=True)
            if place in self._processes:
                self._processes.pop(place).end()

    def environment(self, name: str) -> Environment:
        """One that `prepare` was told of, once it is there."""
        return self._environments[name].result()

    # --- Asking.

    def ask(self, script: str, *tasks: str, of: Iterable[str] = (OURS,)) -> None:
        """Ask each of some libraries for each task, round by round, one after the other."""
        libraries = list(of)
        with self.timed(", ".join(tasks)):
            for _ in range(self.extent.rounds):
                for task in tasks:
                    for library in libraries:
                        self._keep(task, library, self._asked(script, library, task), several=True)

    def ask_once(self, script: str, *tasks: str) -> None:
        """Ask perscache for each task once."""
        with self.timed(", ".join(tasks)):
            for task in tasks:
                self._keep(task, OURS, self._asked(script, OURS, task), several=False)

    def _asked(self, script: str, library: str, task: str, patience: float = PATIENCE, *, apart: bool = False) -> Any:
        name = OURS if library == FLOOR else REMOTE if script == "courier.py" else library
        try:
            environment = self.environment(name)
        except NotInstalledError as error:
            print(error, file=sys.stderr)
            return FAILS
        place = self._place(script, library, apart=apart)
        with self._lock:
            if place not in self._processes:
                self._processes[place] = Process(environment, script, [library.removesuffix(VALUES)], place)
            process = self._processes[place]
        return process.ask(task, patience)

    def _place(self, script: str, library: str, *, apart: bool) -> Path:
        return self.folder / (f"{Path(script).stem} apart" if apart else Path(script).stem) / library

    def _keep(self, task: str, library: str, answer: Any, *, several: bool) -> None:
        parts: dict[str, Any] = answer if isinstance(answer, dict) else {"": answer}
        for part, value in parts.items():
            exact = float(f"{value:.4g}") if isinstance(value, float) else value
            of_task = self.answers.setdefault(f"{task} {part}".strip(), {})
            if several:
                of_task.setdefault(library, []).append(exact)
            else:
                of_task[library] = exact
        if answer == FAILS and (task, library) not in self._failed:
            self._failed.add((task, library))
            print(f"{library} fails at {task}; its own message is above", file=sys.stderr)

    # ---

    @contextmanager
    def timed(self, title: str) -> Iterator[None]:
        """Tell on stderr how long it took."""
        begin = time.monotonic()
        yield
        self.seconds[title] = round(time.monotonic() - begin, 1)
        print(f"{self.seconds[title]:6.1f} s  {title}", file=sys.stderr)

    def end(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            process.end()

"""A library under test, in a process and an environment of its own, asked line by line."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class Process:
    """A contestant, ready to be asked: ``script``, run with the ``requirements`` of ``library``."""

    def __init__(self, script: str, library: str, requirements: Sequence[str], folder: Path) -> None:
        self._library = library
        environment = folder / "environment"
        venv.create(environment, with_pip=True)
        self.python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        subprocess.run([self.python, "-m", "pip", "install", "-q", *requirements], check=True)
        settings = {name: value for name, value in os.environ.items() if not name.startswith(("PERSCACHE_", "PYTHON"))}
        self._process = subprocess.Popen(
            [self.python, HERE / script, library, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env=settings,
            text=True,
        )

    def ask(self, task: str) -> Any:
        """The answer to ``task``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(task, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self._library} failed at {task}; its own message is above")
        return json.loads(answer)

    def end(self) -> None:
        """Wait until it has gone."""
        self._process.communicate()


def start(script: str, libraries: Mapping[str, Sequence[str]], folder: Path) -> dict[str, Process]:
    """A process for each library and its requirements, each in a folder of its own, set up side by side."""

    def process(library: str) -> Process:
        (folder / library).mkdir()
        return Process(script, library, libraries[library], folder / library)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip(libraries, threads.map(process, libraries), strict=True))


def medians(processes: Mapping[str, Process], tasks: Iterable[str], rounds: int) -> dict[str, dict[str, Any]]:
    """The median answer of each process to each task over interleaved rounds; None for a task that is not its own."""
    answers: dict[str, dict[str, list[Any]]] = {library: {task: [] for task in tasks} for library in processes}
    for _ in range(rounds):
        for task in tasks:
            for library, process in processes.items():
                answers[library][task].append(process.ask(task))
    return {
        library: {task: None if None in values else statistics.median(values) for task, values in found.items()}
        for library, found in answers.items()
    }


def output_of(program: str, *arguments: str, python: Path | str = sys.executable) -> str:
    """What a new interpreter prints that runs the text ``program``.

    There is a process between: the peak of memory (ru_maxrss) of a new one begins with the size of its parent.
    """
    between = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', *sys.argv[1:]]))"
    asked = [python, "-c", between, program, *arguments]
    return subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout


def answer_tasks(contestant: object) -> None:
    """The other side of `Process.ask`: each line of the input names a method, each line of the output is its result.

    Numbers behind the name are what the method is called with.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        method, *numbers = line.split()
        print(json.dumps(getattr(contestant, method)(*map(int, numbers))), file=answers, flush=True)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; its first row is the head."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])

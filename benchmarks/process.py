"""An environment of a library's own, and a process in it that is asked line by line."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import traceback
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
FAILS: Final = "fails"
PATIENCE: Final = 120.0
"""Seconds that a task may take."""

# What programs in fresh processes say of their memory: the most that it has been, in bytes. The first way begins anew
# in each process; the other one inherits from the process that started it.
PEAK: Final = """
import resource, sys
def peak():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)
"""


class NotInstalledError(Exception):
    """Pip did not install what an environment was to hold."""


class Environment:
    """A Python with the ``requirements``, made by pip in ``folder``; raises `NotInstalledError`."""

    def __init__(self, folder: Path, requirements: Sequence[str]) -> None:
        self.python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        venv.create(folder, with_pip=False, symlinks=sys.platform != "win32")
        # The pip of the Python that runs the benchmarks: to set one up in each environment takes longer than most rows.
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, "install", "-qq", "--no-compile", *requirements], stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            names = ", ".join(Path(requirement).name for requirement in requirements)
            raise NotInstalledError(f"pip did not install {names}; its own message is above")


class Process:
    """``script`` with some ``arguments``, in an environment and a folder; it answers tasks, see `answer_tasks`."""

    def __init__(self, environment: Environment, script: str, arguments: Sequence[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._command = [str(environment.python), str(HERE / script), *arguments, str(folder)]
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, task: str, patience: float = PATIENCE) -> Any:
        """The answer to ``task``; `FAILS` where the library raises, dies, or takes longer than ``patience`` seconds."""
        with self._lock:
            return self._ask(task, patience)

    def _ask(self, task: str, patience: float) -> Any:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = threading.Timer(patience, process.kill)
        deadline.start()
        try:
            print(task, file=process.stdin, flush=True)
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            deadline.cancel()
        if not answer:
            self._process = None  # The next task begins anew.
            process.kill()
            process.communicate()
            return FAILS
        return json.loads(answer)

    def _start(self) -> subprocess.Popen[str]:
        # Settings of whoever runs this are not what is measured.
        settings = {name: value for name, value in os.environ.items() if not name.startswith(("PERSCACHE_", "PYTHON"))}
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(self._command, cwd=self._folder, env=settings, **streams)

    def end(self) -> None:
        """Wait until it has gone, or kill it if it stays."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self._process.communicate(timeout=20)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def answer_tasks(asked: object) -> None:
    """The other side of `Process.ask`: each line of the input names a method, each line of the output is its result.

    Numbers behind the name are what the method is called with.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        method, *numbers = line.split()
        try:
            answer = getattr(asked, method)(*map(int, numbers))
        except Exception:  # noqa: BLE001 - one task that fails is no reason to end the others
            traceback.print_exc()
            answer = FAILS
        print(json.dumps(answer), file=answers, flush=True)


def output_of(program: str, *arguments: str) -> str:
    """What a program prints in a fresh process of this Python."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout

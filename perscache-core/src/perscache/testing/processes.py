"""Other processes, forked or spawned, that do something with what is tested and tell how it went."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Literal, Self

import pytest


class Child:
    """A process that runs ``work(tell, *arguments)``, where ``tell`` sends something picklable to this one.

    with Child("spawn", work, storage) as child:
        assert child.told(60) == ...
    """

    def __init__(self, method: Literal["fork", "spawn"], work: Callable[..., None], *arguments: Any) -> None:
        context: Any = multiprocessing.get_context(method)
        self.method = method
        self._ours, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(theirs, work, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def told(self, seconds: float, remedy: str) -> Any:
        """What it tells next. The test fails with ``remedy`` where it tells nothing in time, raises, or dies."""
        __tracebackhide__ = True
        if not self._ours.poll(seconds):
            pytest.fail(f"{remedy}. The {self.method}ed process hung for {seconds:g} s")
        try:
            went_well, told = self._ours.recv()
        except EOFError:
            self._process.join(seconds)
            pytest.fail(f"{remedy}. The {self.method}ed process died with exit code {self._process.exitcode}")
        if not went_well:
            pytest.fail(f"{remedy}. The {self.method}ed process raised {told}")
        return told

    def kill(self) -> None:
        """End it at once, as a machine ends that loses its power."""
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.join(10 if error is None else 0)
        self._process.kill()
        self._process.join()
        self._ours.close()


def _run(pipe: Connection, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    try:
        work(lambda told: pipe.send((True, told)), *arguments)
    except BaseException as error:  # noqa: BLE001  # Whatever it is, the parent is told.
        pipe.send((False, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
    finally:
        pipe.close()

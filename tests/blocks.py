"""Run Python blocks, each in a process of its own: ``python -W error blocks.py FOLDER``.

Each ``FOLDER/*/example.py`` runs as a script does, in its own folder; ``told`` beside it gets its standard output,
``error`` its standard error, ``status`` its exit status. What nearly all of them import is imported once, before the
processes are forked from this one.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Run the blocks one after another; returns in this process and, after its block, in each child."""
    import perscache.cache
    import perscache.serializers.builtin
    import perscache.storage.local  # noqa: F401

    for script in sorted(folder.glob("*/example.py")):
        child = os.fork()
        if not child:
            os.chdir(script.parent)
            for name, descriptor in {"told": 1, "error": 2}.items():
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
            sys.path[0] = str(script.parent)
            sys.argv = [script.name]
            runpy.run_path(script.name, run_name="__main__")
            return
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (script.parent / "status").write_text(str(status), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

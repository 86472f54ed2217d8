"""A hook of mkdocs: files of the repository that pages link to, ``../perscache-gcs/README.md``, are part of the site.

So a link works in the repository, where the pages lie in ``docs/``, and on the site, where they lie at its root.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
MOUNTED = ("perscache-*/README.md", "examples/*.py")

_LINK = re.compile(r"(?<=\]\()((?:\.\./)+)(?=(?:perscache-\w+|examples)/)")


def on_files(files: Files, config: Any) -> Files:
    """Put the mounted files beside the pages."""
    for file in sorted(file for pattern in MOUNTED for file in ROOT.glob(pattern)):
        name = file.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to them begin one folder further down, as the pages do."""
    return _LINK.sub(lambda link: link[1].removeprefix("../"), markdown)

"""The distributions: the core, those with plugins, and others that lie in the core's folder."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ... import _metadata as metadata
from ...plugins import discovery
from ..plugins import CORE
from .diagnosis import Diagnosis

if TYPE_CHECKING:
    from ..._metadata import Distribution

_PACKAGE: Final = Path(__file__).parents[2]
_SHOWN: Final = 3


def examine(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """The distributions, with where they are: the core, then those with plugins."""
    offers = discovery.scan()
    claims = chain.from_iterable([*offers.claims.values(), *offers.disabled.values()])
    names = sorted({claim.distribution for claim in claims} - {CORE})
    diagnosis.wrong(*_damage(), *_other_owners())
    return [_facts(name) for name in (CORE, *names)]


def _facts(name: str) -> dict[str, Any]:
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return {"name": name, "version": None, "folder": None}
    folder = _PACKAGE.parent if name == CORE else found.locate_file("")
    return {"name": name, "version": found.version, "folder": str(folder)}


def _damage() -> Iterator[str]:
    """Whether what runs is what was installed."""
    try:
        core = metadata.distribution(CORE)
    except metadata.PackageNotFoundError:
        yield f"perscache runs from {_PACKAGE}, and {CORE} is not installed: pip install {CORE}"
        return
    record = [
        row for row in csv.reader((core.read_text("RECORD") or "").splitlines()) if row[0].startswith("perscache/")
    ]
    if not record:
        return  # Installed for working on it: its files are elsewhere, and may change.
    installed = Path(str(core.locate_file("perscache")))
    if installed.resolve() != _PACKAGE.resolve():
        yield (
            f"perscache runs from {_PACKAGE}, and {CORE} {core.version} is installed in {installed}: take the former "
            "off the path (PYTHONPATH, or the folder that Python was started in), or uninstall one"
        )
        return
    altered = [file for file, digest, *_ in record if digest and digest != _digest(installed.parent / file)]
    if altered:
        others = f" and {len(altered) - _SHOWN} more" if len(altered) > _SHOWN else ""
        yield (
            f"In {installed.parent}, {', '.join(altered[:_SHOWN])}{others} are not what {CORE} {core.version} put "
            f"there: pip install --force-reinstall --no-deps {CORE}=={core.version}"
        )


def _digest(file: Path) -> str:
    """The digest of a file as the record of an installation has it (PEP 376); empty where there is no such file."""
    try:
        return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()
    except OSError:
        return ""


def _other_owners() -> Iterator[str]:
    for distribution in metadata.distributions():
        if _has_our_package(distribution):
            name = distribution.metadata["Name"]
            yield (
                f"{name} {distribution.version} has the import package 'perscache' too, and so it and {CORE} overwrite "
                f"each other's files: pip uninstall {name}; pip install --force-reinstall --no-deps {CORE}"
            )


def _has_our_package(distribution: Distribution) -> bool:
    """Whether it is another than the core, and put files where the core's are."""
    try:
        if discovery.canonical(distribution.metadata["Name"]) == CORE:
            return False
        top_level = distribution.read_text("top_level.txt") or ""
        record = distribution.read_text("RECORD") or distribution.read_text("installed-files.txt") or ""
    except Exception:  # noqa: BLE001  # What is wrong with others' metadata is not ours to say.
        return False
    return "perscache" in top_level.split() or any(
        line.startswith("perscache/__init__.py") for line in record.splitlines()
    )

"""The machine that a run was made on, without its name and its paths."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine(folder: str) -> dict[str, str | float]:
    """What the figures depend on; ``folder`` is where the files are written."""
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "memory, GB": memory(),
        "system": f"{platform.system()} {platform.release()}",
        "file system": file_system(folder),
        "python": platform.python_version(),
        "load before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else -1.0,
    }


def processor() -> str:
    """The model, as the system calls it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def memory() -> int:
    """All of it, in GB; 0 where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    except (AttributeError, OSError, ValueError):
        return 0


def file_system(folder: str) -> str:
    """The kind of the one that ``folder`` lies on."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    kinds = {line.split()[1]: line.split()[2] for line in mounts.read_text().splitlines()}
    place = Path(folder).resolve()
    return next((kinds[str(path)] for path in (place, *place.parents) if str(path) in kinds), "unknown")

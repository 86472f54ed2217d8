"""``python -m perscache``: the same as ``perscache``."""

from __future__ import annotations

from .cli import main

raise SystemExit(main())

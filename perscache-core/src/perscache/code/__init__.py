"""A function to its identity: what it runs, and what that uses."""

from __future__ import annotations

from .walk import Code, Part, code_of, identify, kind_of, walk

__all__ = ["Code", "Part", "code_of", "identify", "kind_of", "walk"]

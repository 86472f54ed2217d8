"""A value to canonical bytes: equal values give equal bytes, in every process and on every Python version."""

from __future__ import annotations

from .encoder import SCALARS, SCHEMA, Encoder, Handler, Stream

__all__ = ["SCALARS", "SCHEMA", "Encoder", "Handler", "Stream"]

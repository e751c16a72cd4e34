"""Trunkline: one server between your applications and every model provider."""

from __future__ import annotations

__version__ = "0.1.0"

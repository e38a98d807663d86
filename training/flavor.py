"""The loader that versions registered before 2026-11-27 name: now `training.registry.flavor`."""

from __future__ import annotations

from training.registry.flavor import _load_pyfunc as _load_pyfunc

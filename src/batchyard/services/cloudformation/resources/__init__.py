"""The resource types that are real here, a module for each service."""

from __future__ import annotations

from functools import lru_cache

from batchyard.services.cloudformation.resources.type import ResourceType

__all__ = ["MODULES", "types"]

MODULES: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def types() -> dict[str, ResourceType]:
    """Every type by name."""
    from importlib import import_module

    modules = [import_module(f"{__name__}.{name}") for name in MODULES]
    return {type.name: type for module in modules for type in module.TYPES}

"""The resource types that are real here, a module for each service: whatever module here has TYPES is found."""

from __future__ import annotations

from functools import lru_cache

from batchyard.services.cloudformation.resources.type import ResourceType

__all__ = ["types"]


@lru_cache(maxsize=1)
def types() -> dict[str, ResourceType]:
    """Every type by name."""
    from importlib import import_module
    from pkgutil import iter_modules

    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    return {type.name: type for module in modules for type in getattr(module, "TYPES", ())}

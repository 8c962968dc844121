"""The resource types that are real here, a module for each service."""

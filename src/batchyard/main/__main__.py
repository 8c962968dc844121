"""The way in: `batchyard` and `python -m batchyard.main`."""

from batchyard.main.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()

"""A Hydra application: what a sweep over it submits are Batch jobs whose command is the list of overrides."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(settings: DictConfig) -> None:
    """Never runs here in a sweep: the launcher submits instead."""
    print(f"depth {settings.depth}, quality {settings.quality}")


if __name__ == "__main__":
    main()

"""A caller of the command line whose surroundings are its own, and the small service that it talks to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_service import KEY, REGION, SECRET, FakeService
from click.testing import CliRunner, Result

from batchyard.main.cli import batchyard


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService()
    yield fake
    fake.close()


@pytest.fixture
def folder(service: FakeService, tmp_path: Path) -> Path:
    """The data folder of the fake service."""
    made = tmp_path / "yard"
    made.mkdir()
    endpoint = {"endpoint_url": service.url, "region": REGION, "access_key_id": KEY, "secret_access_key": SECRET}
    (made / "endpoint.json").write_text(json.dumps(endpoint))
    return made


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Surroundings without any AWS configuration and without a service."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "BATCHYARD_")) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.fixture
def call(bare: pytest.MonkeyPatch, folder: Path) -> Callable[..., Result]:
    """Runs `batchyard ...` against the fake service; stdout and stderr apart."""

    def run(*args: str) -> Result:
        bare.setenv("BATCHYARD_DATA", str(folder))
        return CliRunner().invoke(batchyard, list(args))

    return run

"""Served object stores, and boto3 as their client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from s3_serving import client, open_store, served

from batchyard.store.objects import ObjectStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    """An empty store."""
    opened = open_store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A store that the tests of a module share."""
    opened = open_store(tmp_path_factory.mktemp("s3"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def endpoint(shared_store: ObjectStore) -> Iterator[str]:
    """The URL of the shared store, where requests must be signed."""
    with served(shared_store) as url:
        yield url


@pytest.fixture(scope="module")
def open_endpoint(shared_store: ObjectStore) -> Iterator[str]:
    """The URL of the same store without signatures, for requests that no SDK would make."""
    with served(shared_store, is_open=True) as url:
        yield url


@pytest.fixture(scope="module")
def s3(endpoint: str) -> Any:
    """boto3's client of the shared store."""
    return client(endpoint)

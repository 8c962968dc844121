"""Listing against the obvious way to do it: sort everything, fold, cut into pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.store import objects_keys as keys
from batchyard.store import objects_uploads as uploads
from batchyard.store import objects_versions as versions
from batchyard.store.objects import ObjectStore
from batchyard.store.objects_listing import LAST_CODE_POINT, list_page, successor
from batchyard.store.objects_records import Bucket, Traits

# few letters make prefixes that meet; the others sort differently in UTF-8 and UTF-16, or end a range
ALPHABET = "ab/-é\ud7ff\ue000\U0001f9ec\U0010ffff\x01"
names = st.text(alphabet=ALPHABET, min_size=1, max_size=6)
pieces = st.text(alphabet=ALPHABET, max_size=3)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    store = ObjectStore(Path(tmp_path_factory.mktemp("listing")))
    yield store
    store.close()


def filled(store: ObjectStore, present: set[str]) -> Bucket:
    """A new bucket with empty objects at these keys."""

    def fill(index: object) -> Bucket:
        number = store.next_manifest()
        bucket = keys.add_bucket(index, f"b{number}", "1", "us-east-1", 1)  # type: ignore[arg-type]
        for key in present:
            versions.put_object(index, store.next_manifest(), bucket, key, "etag", Traits(), [], 1)  # type: ignore[arg-type]
            uploads.add_upload(index, store.next_manifest(), f"{number}-{key}", bucket.id, key, Traits(), 1)  # type: ignore[arg-type]
        return bucket

    return store.change(fill).result()


def expected_names(present: set[str], prefix: str, delimiter: str) -> list[str]:
    """Keys and common prefixes in order."""
    folded = set()
    for key in present:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key[len(prefix) :], "", "")
            folded.add(prefix + head + found)
    return sorted(folded, key=lambda name: name.encode())


@settings(max_examples=150, deadline=None)
@given(st.sets(names, max_size=25), pieces, st.text(alphabet=ALPHABET, max_size=2), st.integers(1, 5))
def test_pages_together_are_the_whole_list(shared: ObjectStore, present: set[str], prefix: str, delimiter: str, limit: int) -> None:
    bucket = filled(shared, present)
    found: list[str] = []
    after = ""
    while True:
        page = shared.ask(lambda index, after=after: list_page(index, bucket, prefix, delimiter, after, limit))  # type: ignore[misc]
        batch = sorted([record.key for record in page.objects] + page.common_prefixes, key=lambda name: name.encode())
        assert len(batch) <= limit
        found += batch
        if not page.truncated:
            break
        assert batch[-1] == page.last
        after = page.last
    assert found == expected_names(present, prefix, delimiter)


@settings(max_examples=150, deadline=None)
@given(st.sets(names, max_size=25), pieces, st.text(alphabet=ALPHABET, max_size=1), names, st.integers(0, 30))
def test_a_page_begins_behind_any_name(shared: ObjectStore, present: set[str], prefix: str, delimiter: str, after: str, limit: int) -> None:
    bucket = filled(shared, present)
    page = shared.ask(lambda index: list_page(index, bucket, prefix, delimiter, after, limit))
    wanted = [name for name in expected_names(present, prefix, delimiter) if name.encode() > after.encode()]
    batch = sorted([record.key for record in page.objects] + page.common_prefixes, key=lambda name: name.encode())
    assert batch == wanted[:limit]
    assert page.truncated == (len(wanted) > limit > 0)


@settings(max_examples=60, deadline=None)
@given(st.sets(names, max_size=15), pieces, st.text(alphabet=ALPHABET, max_size=1), st.integers(1, 4))
def test_uploads_are_listed_in_pages_too(shared: ObjectStore, present: set[str], prefix: str, delimiter: str, limit: int) -> None:
    bucket = filled(shared, present)
    found: list[str] = []
    key_marker = id_marker = ""
    while True:
        page = shared.ask(
            lambda index, k=key_marker, i=id_marker: uploads.list_uploads(index, bucket, prefix, delimiter, k, i, limit)  # type: ignore[misc]
        )
        batch = [upload.key for upload in page.uploads] + page.common_prefixes
        assert len(batch) <= limit
        found += sorted(batch, key=lambda name: name.encode())
        if not page.truncated:
            break
        key_marker, id_marker = page.last_key, page.last_id
    assert found == expected_names(present, prefix, delimiter)


@given(st.text(alphabet=ALPHABET, max_size=4), st.text(max_size=4))
def test_a_successor_lies_beyond_everything_with_the_prefix(prefix: str, rest: str) -> None:
    beyond = successor(prefix)
    if beyond is None:
        assert all(ord(letter) == LAST_CODE_POINT for letter in prefix)
        return
    assert beyond.encode() > (prefix + rest).encode()
    assert not beyond.startswith(prefix) or prefix == ""

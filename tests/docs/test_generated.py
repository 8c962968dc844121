"""What the documentation takes from the program is as the program has it now, and what is served only grows."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import pages
from batchyard.core import lifecycle, reasons, time_limits
from batchyard.wire import shapes

SOURCE = pages.ROOT / "src" / "batchyard"


@pytest.fixture(scope="module")
def make_docs() -> Iterator[Any]:
    with mock.patch.object(sys, "path", [str(pages.ROOT / "scripts"), *sys.path]):
        yield importlib.import_module("make_docs")


def test_generated_parts_are_fresh(make_docs: Any) -> None:
    stale = [str(path.relative_to(pages.ROOT)) for path, text in make_docs.wanted().items() if path.read_text() != text]
    assert not stale, "run make docs"


def test_no_fewer_operations_than_before(make_docs: Any) -> None:
    assert make_docs.losses() == []
    assert json.loads(make_docs.BASELINE.read_text()) == make_docs.counts(), "more than before: run make docs"


def test_a_loss_is_noticed_and_not_written_down(make_docs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = tmp_path / "baseline.json"
    more.write_text(json.dumps({**make_docs.counts(), "sts": 99, "none": 1}))
    with mock.patch.object(make_docs, "BASELINE", more), mock.patch.object(make_docs, "wanted", dict):
        assert make_docs.main() == 1
    assert json.loads(more.read_text())["none"] == 1
    assert capsys.readouterr().err.splitlines() == [
        f"less than before: sts: {make_docs.counts()['sts']} operations served, 99 before",
        "less than before: none: 0 operations served, 1 before",
    ]


def test_counts_are_those_of_awss_models(make_docs: Any) -> None:
    for service in make_docs.SERVICES:
        served, not_yet = make_docs.operations_of(service.name)
        assert {*served, *not_yet} == set(shapes.load(service.name).operations)


def test_a_mark_without_an_end_is_refused(make_docs: Any) -> None:
    with pytest.raises(ValueError, match="no end"):
        make_docs.renewed("<!-- generated: tags -->\n")


def test_every_variable_that_is_read_is_documented() -> None:
    """BATCHYARD_* and AWS's own, where the program reads its environment."""
    read: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        read.update(re.findall(r"environ(?:\.get\(|\[)\s*\"([A-Z_]+)\"", path.read_text()))
    page = (pages.ROOT / "docs" / "reference" / "settings.md").read_text()
    undocumented = {name for name in read if f"`{name}`" not in page}
    assert not undocumented
    assert os.environ  # the scan above found something to check against
    assert "BATCHYARD_DATA" in read


def test_every_reason_is_on_its_page() -> None:
    page = (pages.ROOT / "docs" / "reference" / "status-reasons.md").read_text()
    texts = [
        text
        for module in (lifecycle, reasons, time_limits)
        for name, text in vars(module).items()
        if name.isupper() and not name.startswith("_") and isinstance(text, str)
    ]
    assert len(texts) >= 10
    assert not [text for text in [*texts, lifecycle.host_lost("i-...")] if f"`{text}`" not in page]


def test_types_are_shown_with_what_they_refuse(make_docs: Any) -> None:
    """A property that is refused whatever it is, one that is taken with one value alone, and what then cannot be asked for."""
    by_name = dict(make_docs.resource_types.types())
    function, bucket = (make_docs.resource_types.section(by_name[f"AWS::{name}"]) for name in ("Lambda::Function", "S3::Bucket"))
    acted_on, refused = (next(line for line in function.splitlines() if line.startswith(f"- {part}")) for part in ("acted on", "refused"))
    assert "`Layers`" not in acted_on and "`Layers` (there are no layers" in refused
    assert '`SnapStart` but for `{"ApplyOn": "None"}`' in refused
    assert "MetadataConfiguration.Destination" not in bucket and "`RegionalDomainName`" in bucket

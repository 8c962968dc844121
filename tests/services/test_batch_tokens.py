"""Page tokens are taken from their own question only, and a forged one does no harm."""

from __future__ import annotations

import pytest
from batch_bench import Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.model.fault import Fault
from batchyard.services.batch.tokens import page, read_token, write_token


@settings(deadline=None)
@given(st.text(max_size=40))
def test_a_token_gives_back_its_cursor(cursor: str) -> None:
    assert read_token(("q", 1), write_token(("q", 1), cursor)) == cursor
    with pytest.raises(Fault, match="another request"):
        read_token(("q", 2), write_token(("q", 1), cursor))


@settings(deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_rubbish_is_refused(token: str) -> None:
    with pytest.raises(Fault, match="nextToken"):
        read_token("q", token)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=3), unique=True).map(sorted), st.integers(1, 4))
def test_pages_together_are_the_whole(keys: list[str], size: int) -> None:
    items = [(key, key) for key in keys]
    seen: list[str] = []
    token: str | None = None
    while True:
        shown, token = page("q", items, token, size)
        assert len(shown) <= size
        seen += shown
        if token is None:
            break
    assert seen == keys


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 30, "²"])
def test_forged_cursors(ready: Bench, cursor: str) -> None:
    array = ready.submit(arrayProperties={"size": 2})
    for operation, params, question in (
        ("ListJobs", {"arrayJobId": array}, ("ListJobs", {"array": array, "status": "RUNNING"})),
        (
            "DescribeJobDefinitions",
            {"jobDefinitionName": "job"},
            ("DescribeJobDefinitions", ready.caller.account, ready.caller.region, "job", None),
        ),
    ):
        assert "nextToken is not valid" in ready.refused(operation, **params, nextToken=write_token(question, cursor))
        assert ready.call(operation, **params, nextToken=write_token(question, "999999999")) is not None

"""Reports that cannot be taken: set aside whole, counted, and no bar to the others."""

from __future__ import annotations

import pytest
from engine_bench import Bench

from batchyard.core import lifecycle
from batchyard.model.messages import AttemptEnded


def test_a_report_that_fails_is_set_aside_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bad, good = bench.submit(), bench.submit()
    for job in (bad, good):
        bench.start(job)
    attempts = {job: bench.attempt(job) for job in (bad, good)}
    advance = lifecycle.advance

    def advance_or_fail(job: lifecycle.Job, *rest: object) -> lifecycle.Job:
        if job.id == bad:
            raise ValueError("a bug of ours")
        return advance(job, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(lifecycle, "advance", advance_or_fail)
    turns = [bench.report(AttemptEnded(attempts[job], bench.world.now, "exited", exit_code=0)) for job in (bad, good)]
    assert bench.status(bad, good) == ["RUNNING", "SUCCEEDED"]
    assert bench.engine.observer.dropped == {"failed": 1}
    assert attempts[bad] in bench.engine.yard.attempts
    assert [turn.acknowledge for turn in turns] == [[], [attempts[good]]], "the provider keeps what was not taken"

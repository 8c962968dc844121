"""A client waits for a service that is away, and never lets it do twice what it may do once."""

import botocore.exceptions
import pytest
from variant_calling import patience


def refused() -> botocore.exceptions.EndpointConnectionError:
    return botocore.exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def closed() -> botocore.exceptions.ConnectionClosedError:
    return botocore.exceptions.ConnectionClosedError(endpoint_url="http://127.0.0.1:1")


def answered(status: int) -> botocore.exceptions.ClientError:
    parsed = {"Error": {"Code": "Some", "Message": "said"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(parsed, "SubmitJob")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", pauses.append)
    return pauses


class Script:
    """Raises or returns one thing after the other, and counts."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self) -> object:
        self.calls += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.mark.parametrize("problem", [refused(), closed(), answered(500), answered(503), answered(429), ConnectionResetError()])
def test_what_passes_is_waited_for(problem: Exception, no_pauses: list[float]) -> None:
    call = Script(problem, problem, "there")
    assert patience.patiently(call) == "there"
    assert call.calls == 3
    assert no_pauses == [0.1, 0.2]


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_is_final(status: int) -> None:
    call = Script(answered(status), "never")
    with pytest.raises(botocore.exceptions.ClientError):
        patience.patiently(call)
    assert call.calls == 1


def test_patience_ends() -> None:
    call = Script(refused())
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        patience.patiently(call, patience_s=-1)
    assert call.calls == 1


def test_what_was_done_without_an_answer_is_not_done_again() -> None:
    call, already = Script(closed()), Script(refused(), "job-1")
    assert patience.patiently(call, already=already) == "job-1"
    assert (call.calls, already.calls) == (1, 2)


def test_what_was_not_done_is_done_again() -> None:
    call, already = Script(refused(), "job-2"), Script(None)
    assert patience.patiently(call, already=already) == "job-2"
    assert (call.calls, already.calls) == (2, 1)


def test_pauses_grow_and_have_a_limit(no_pauses: list[float]) -> None:
    patience.patiently(Script(*[refused()] * 7, "there"))
    assert no_pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]

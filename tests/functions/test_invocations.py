"""Functions that run: what they get, what they answer, what becomes of those that go wrong, and what they cannot reach."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from function_code import archive, create, invoke, run
from test_functions import refused

from yard import Yard, serving, until

# A call that is told that the server stops is tried again, and finds nobody, or one that is about to go and takes up no more.
TOLD = (ClientError, EndpointConnectionError, ConnectionClosedError)
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a function a user of its own")


def tail(response: dict[str, Any]) -> str:
    return base64.b64decode(response["LogResult"]).decode()


def logged(yard: Yard, name: str) -> list[str]:
    found = yard.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    return [event["message"] for event in found]


def test_a_function_answers_and_writes_its_log(yard: Yard) -> None:
    answer, response = run(
        yard,
        "answers",
        """
        import logging, os
        logging.getLogger().setLevel("INFO")

        def handler(event, context):
            print("seen", event["sample"])
            logging.info("of note")
            return {
                "depth": os.environ["DEPTH"], "name": context.function_name, "arn": context.invoked_function_arn,
                "left": 0 < context.get_remaining_time_in_millis() <= 60000, "region": os.environ["AWS_REGION"],
            }
        """,
        {"sample": "NA12878"},
        Environment={"Variables": {"DEPTH": "30"}},
    )
    arn = "arn:aws:lambda:us-east-1:000000000000:function:answers"
    assert answer == {"depth": "30", "name": "answers", "arn": arn, "left": True, "region": "us-east-1"}
    assert response["StatusCode"] == 200 and "FunctionError" not in response and response["ExecutedVersion"] == "$LATEST"
    start, seen, note, end, report = logged(yard, "answers")
    assert start.startswith("START RequestId: ") and start.endswith(" Version: $LATEST")
    assert seen == "seen NA12878" and note.startswith("[INFO]\t") and note.endswith("\tof note")
    assert "Max Memory Used: 0 MB" not in report
    assert end.startswith("END RequestId: ") and report.startswith("REPORT RequestId: ") and "Memory Size: 128 MB" in report
    assert "seen NA12878" in tail(response) and "REPORT" in tail(response)
    (stream,) = yard.client("logs").describe_log_streams(logGroupName="/aws/lambda/answers")["logStreams"]
    assert "/[$LATEST]" in stream["logStreamName"]


def test_what_a_function_raises_is_told(yard: Yard) -> None:
    source = "def deeper():\n    raise ValueError('no such sample')\n\ndef handler(event, context):\n    deeper()\n"
    answer, response = run(yard, "raises", source)
    assert response["FunctionError"] == "Unhandled" and response["StatusCode"] == 200
    assert (answer["errorType"], answer["errorMessage"]) == ("ValueError", "no such sample")
    assert [line.rpartition(", in ")[2].split("\n")[0] for line in answer["stackTrace"]] == ["handler", "deeper"]
    assert "[ERROR] ValueError: no such sample" in tail(response)


@pytest.mark.parametrize(
    ("name", "source", "handler", "kind", "words"),
    [
        ("import", "import nowhere\n", "index.handler", "Runtime.ImportModuleError", "Unable to import module 'index': No module named"),
        ("syntax", "def handler(:\n", "index.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'index'"),
        ("missing", "x = 1\n", "index.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'index'"),
        ("badname", "x = 1\n", "handler", "Runtime.MalformedHandlerName", "Bad handler 'handler'"),
        ("marshal", "def handler(e, c): return {1, 2}\n", "index.handler", "Runtime.MarshalError", "Unable to marshal response"),
        ("exit", "import sys\ndef handler(e, c): sys.exit(3)\n", "index.handler", "Runtime.ExitError", "exit status 3"),
        ("left", "import os\ndef handler(e, c): os._exit(0)\n", "index.handler", "Runtime.ExitError", "exited without providing a reason"),
        ("abort", "import os\ndef handler(e, c): os.abort()\n", "index.handler", "Runtime.ExitError", "signal: aborted"),
    ],
)
def test_what_cannot_be_run_is_told_in_the_platforms_words(yard: Yard, name: str, source: str, handler: str, kind: str, words: str) -> None:
    answer, response = run(yard, f"wrong-{name}", source, Handler=handler)
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == kind and words in answer["errorMessage"]


def test_time_is_up_for_the_function_and_all_that_it_started(yard: Yard, tmp_path: Path) -> None:
    answer, response = run(
        yard,
        "slow",
        """
        import subprocess, time

        def handler(event, context):
            subprocess.Popen(["sleep", "86399"], start_new_session=True)
            print("waiting")
            time.sleep(60)
        """,
        Timeout=3,
    )
    assert response["FunctionError"] == "Unhandled"
    assert "Task timed out after 3.00 seconds" in answer["errorMessage"]
    assert "waiting" in tail(response) and "Task timed out after 3.00 seconds" in tail(response)
    assert subprocess.run(["pgrep", "-f", "^sleep 86399$"], capture_output=True, timeout=30, check=False).stdout == b""


def test_a_memory_bomb_hurts_only_itself(yard: Yard) -> None:
    eats = "def handler(e, c):\n    held = []\n    while True:\n        held.append(b'x' * (1 << 20))\n"
    answer, response = run(yard, "eats", eats, Timeout=30)
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "MemoryError" or "signal: killed" in answer["errorMessage"]
    together = """
        import os, time

        def handler(e, c):
            for _ in range(8):
                if os.fork() == 0:
                    held = b"x" * (60 << 20)
                    time.sleep(60)
            time.sleep(60)
        """
    answer, response = run(yard, "eats-together", together, Timeout=30)
    assert "signal: killed" in answer["errorMessage"], answer
    assert yard.batch.describe_job_queues()["jobQueues"] == []


@AS_ROOT
def test_a_fork_bomb_is_bounded(yard: Yard) -> None:
    source = """
        import os, time

        def handler(e, c):
            made = 0
            try:
                while True:
                    if os.fork() == 0:
                        time.sleep(60)
                    made += 1
            except OSError:
                return made
        """
    answer, _ = run(yard, "forks", source, Timeout=30, MemorySize=1024)
    assert 0 < answer < 200
    endless = (
        "import os\ndef handler(e, c):\n    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass\n"
    )
    answer, _ = run(yard, "forks-on", endless, Timeout=1, MemorySize=2048)
    assert "errorMessage" in answer
    assert invoke(yard, "forks")[0] > 0


@AS_ROOT
def test_a_function_cannot_read_the_servers_files_keys_or_environment(yard: Yard) -> None:
    source = """
        import os

        def tried(act, *arguments):
            try:
                return repr(act(*arguments))
            except OSError as error:
                return type(error).__name__

        def handler(event, context):
            data = event["data"]
            return {
                "uid": os.getuid(), "environment": sorted(os.environ), "tmp": os.listdir("/tmp"),
                "niceness": os.getpriority(os.PRIO_PROCESS, 0),
                "folder": tried(os.listdir, data), "endpoint": tried(open, data + "/endpoint.json"),
                "key": tried(open, data + "/shelf.key"), "server": tried(open, f"/proc/{event['pid']}/environ"),
                "own": tried(open, "mine.txt", "w"), "rooms": tried(os.listdir, os.path.dirname(os.path.dirname(os.getcwd()))),
            }
        """
    create(yard, "curious", source)
    assert yard.process is not None
    answer, _ = invoke(yard, "curious", {"data": str(yard.data), "pid": yard.process.pid})
    denied = ("PermissionError", "FileNotFoundError")
    assert answer["uid"] >= 60706
    assert answer["niceness"] == os.getpriority(os.PRIO_PROCESS, 0), "no more urgent than the server, as the one is that watches it"
    for what in ("folder", "endpoint", "key", "server"):
        assert answer[what] in denied, (what, answer[what])
    assert answer["rooms"] == "PermissionError" and "mine.txt" in answer["own"]
    assert {name for name in answer["environment"] if not name.startswith(("AWS_", "_HANDLER"))} == {
        "LANG",
        "LAMBDA_TASK_ROOT",
        "PATH",
        "TMPDIR",
        "TZ",
    }
    assert not [room for room in rooms(yard) if (room / "task" / "mine.txt").exists()]


def test_a_function_calls_this_service_as_its_role(yard: Yard) -> None:
    yard.client("s3").create_bucket(Bucket="samples")
    yard.client("s3").put_object(Bucket="samples", Key="a.txt", Body=b"ACGT")
    yard.client("ssm").put_parameter(Name="/depth", Value="30", Type="String")
    source = """
        import botocore.session

        def handler(event, context):
            session = botocore.session.get_session()
            body = session.create_client("s3").get_object(Bucket="samples", Key="a.txt")["Body"].read().decode()
            depth = session.create_client("ssm").get_parameter(Name="/depth")["Parameter"]["Value"]
            return [body, depth, session.create_client("sts").get_caller_identity()["Arn"]]
        """
    answer, _ = run(yard, "calls", source, Timeout=60, MemorySize=512)
    assert answer == ["ACGT", "30", "arn:aws:sts::000000000000:assumed-role/functions/calls"]


def test_cfnresponse_delivers_to_a_presigned_url(yard: Yard) -> None:
    yard.client("s3").create_bucket(Bucket="responses")
    url = yard.client("s3").generate_presigned_url("put_object", Params={"Bucket": "responses", "Key": "r"})
    event = {"ResponseURL": url, "StackId": "s", "RequestId": "r", "LogicalResourceId": "L", "RequestType": "Create"}
    source = "import cfnresponse\ndef handler(e, c):\n    cfnresponse.send(e, c, cfnresponse.SUCCESS, {'Depth': 30}, 'physical')\n"
    _, response = run(yard, "custom", source, event, Timeout=30)
    assert "FunctionError" not in response, tail(response)
    sent = json.loads(yard.client("s3").get_object(Bucket="responses", Key="r")["Body"].read())
    assert sent == {
        "Status": "SUCCESS",
        "Reason": sent["Reason"],
        "PhysicalResourceId": "physical",
        "StackId": "s",
        "RequestId": "r",
        "LogicalResourceId": "L",
        "NoEcho": False,
        "Data": {"Depth": 30},
    }


def test_events_run_later_and_dry_runs_never(yard: Yard) -> None:
    create(yard, "later", "def handler(e, c): print('ran with', e['n'])\n")
    _, response = invoke(yard, "later", {"n": 1}, InvocationType="DryRun")
    assert response["StatusCode"] == 204
    _, response = invoke(yard, "later", {"n": 2}, InvocationType="Event")
    assert response["StatusCode"] == 202
    until(lambda: True if _has_line(yard, "later", "ran with 2") else None, "the event to be run")
    assert not _has_line(yard, "later", "ran with 1")


def _has_line(yard: Yard, name: str, line: str) -> bool:
    groups = yard.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    return bool(groups) and line in logged(yard, name)


def test_what_cannot_be_invoked(yard: Yard) -> None:
    client = yard.client("lambda")
    create(yard, "invoked", "def handler(e, c): return e\n")
    with refused("InvalidRequestContentException", "Could not parse request body into json"):
        client.invoke(FunctionName="invoked", Payload=b"{nope")
    with refused("ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody"):
        client.invoke(FunctionName="nobody")
    with refused("ResourceNotFoundException"):
        client.invoke(FunctionName="invoked", Qualifier="1")
    with refused("RequestTooLargeException"):
        client.invoke(FunctionName="invoked", Payload=b'"' + b"x" * 7_000_000 + b'"')
    with refused("RequestTooLargeException"):
        client.invoke(FunctionName="invoked", InvocationType="Event", Payload=b'"' + b"x" * 1_100_000 + b'"')
    assert client.invoke(FunctionName="invoked")["Payload"].read() == b"{}"


def test_functions_and_events_outlive_kill_nine(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as yard:
        arn = create(yard, "kept", "def handler(e, c): return 'still here'\n")["FunctionArn"]
        waits = "import time\ndef handler(e, c):\n    print('began')\n    time.sleep(e['s'])\n    print('done')\n"
        create(yard, "waits", waits, Timeout=60, Code={"ZipFile": archive(waits)})
        invoke(yard, "waits", {"s": 2}, InvocationType="Event")
        yard.kill()
        yard.start()
        assert yard.client("lambda").get_function(FunctionName="kept")["Configuration"]["FunctionArn"] == arn
        assert invoke(yard, "kept")[0] == "still here"
        until(lambda: True if _has_line(yard, "waits", "done") else None, "the event to be run after the restart")


def test_a_stop_ends_functions_and_the_next_server_runs_their_events_again(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as yard:
        waits = "import os, time\ndef handler(e, c):\n    print('began')\n    time.sleep(int(os.environ['SECONDS']))\n    print('done')\n"
        create(yard, "stopped", waits, Timeout=900, Environment={"Variables": {"SECONDS": "800"}})
        invoke(yard, "stopped", {}, InvocationType="Event")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(invoke, yard, "stopped", {})
            until(lambda: cells(yard) == 2 or None, "both to be under way")
            changed = {"Environment": {"Variables": {"SECONDS": "1"}}}  # for who begins from here on
            yard.client("lambda").update_function_configuration(FunctionName="stopped", **changed)
            assert yard.stop() == 0
            with pytest.raises(TOLD):
                waiting.result(60)
        assert "Traceback" not in yard.log()
        assert cells(yard) == 0 and not list(Path("/var/tmp").glob(f"batchyard-functions-{yard_mark(yard)}"))
        yard.start()
        until(lambda: True if _has_line(yard, "stopped", "done") else None, "the event to be run again")


def cells(yard: Yard) -> int:
    """How many invocations of this service are under way."""
    return sum(1 for room in rooms(yard) if (room / "code.zip").exists())


def rooms(yard: Yard) -> list[Path]:
    """The directories of this service's invocations."""
    places = [Path(f"/var/tmp/batchyard-functions-{yard_mark(yard)}"), yard.data / "functions"]
    return [room for place in places if place.exists() for room in place.iterdir()]


def yard_mark(yard: Yard) -> str:
    """What the folder of rooms is called by."""
    return hashlib.sha256(str(yard.data.resolve()).encode()).hexdigest()[:12]

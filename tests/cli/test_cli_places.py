"""Where commands talk to, and what they say when nobody answers there or the keys are refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_service import KEY, REGION, SECRET, FakeService, Refuse
from click.testing import CliRunner, Result

from batchyard.main.cli import batchyard
from batchyard.main.commands.place import find
from batchyard.main.commands.serve import WAITERS

Call = Callable[..., Result]


def fails(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert result.stdout == ""


def test_a_named_folder_wins_over_the_environment(service: FakeService, folder: Path, bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    bare.setenv("AWS_ACCESS_KEY_ID", "other")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "other")
    service.answers["DescribeJobQueues"] = lambda params: {"jobQueues": []}
    result = CliRunner().invoke(batchyard, ["queues", "--json", "--data", str(folder)])
    assert json.loads(result.stdout) == {"jobQueues": []}


def test_the_environment_wins_over_the_nearest_service(service: FakeService, folder: Path, bare: pytest.MonkeyPatch) -> None:
    bare.setenv("BATCHYARD_DATA", "/nowhere")
    bare.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    bare.setenv("AWS_ENDPOINT_URL_BATCH", service.url)
    bare.setenv("AWS_ACCESS_KEY_ID", KEY)
    bare.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    bare.setenv("AWS_REGION", REGION)
    place = find()
    assert (place.kind, place.region, place.endpoint_of("batch")) == ("endpoint", REGION, service.url)
    assert place.endpoint_of("logs") == "http://127.0.0.1:1"
    assert place.endpoint_of("batchyard") == service.url


def test_the_nearest_service_is_that_of_this_folder(folder: Path, bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder.rename(tmp_path / ".batchyard")
    assert find().folder == Path(".batchyard")


def test_without_any_service_the_usual_configuration_says_which_aws(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "home" / ".aws"
    config.mkdir(parents=True)
    (config / "config").write_text("[profile lab]\nregion = eu-west-1\naws_access_key_id = AKID\naws_secret_access_key = secret\n")
    bare.setenv("AWS_PROFILE", "lab")
    place = find()
    assert (place.kind, place.region) == ("aws", "eu-west-1")
    assert place.endpoint_of("batch") == "https://batch.eu-west-1.amazonaws.com"
    assert place.endpoint_of("logs") == "https://logs.eu-west-1.amazonaws.com"
    keys = place.keys()
    assert keys is not None
    assert keys.access_key_id == "AKID"


def test_aws_leaves_the_nearest_service_aside(folder: Path, bare: pytest.MonkeyPatch) -> None:
    bare.setenv("BATCHYARD_DATA", str(folder))
    bare.setenv("AWS_DEFAULT_REGION", "us-east-2")
    bare.setenv("AWS_ACCESS_KEY_ID", "AKID")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert find().kind == "batchyard"
    assert find(aws=True).name == "AWS Batch in us-east-2"


def test_nothing_configured_says_what_there_is_to_do(bare: pytest.MonkeyPatch) -> None:
    fails(CliRunner().invoke(batchyard, ["jobs"]), 3, "no AWS region", "batchyard serve", "--data DIR", "aws configure")
    bare.setenv("AWS_REGION", "us-east-1")
    fails(CliRunner().invoke(batchyard, ["jobs"]), 4, "no AWS credentials")
    bare.setenv("AWS_PROFILE", "missing")
    fails(CliRunner().invoke(batchyard, ["jobs"]), 4, "missing")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"endpoint_url": "http://h"}'])
def test_a_damaged_endpoint_file_is_named(content: str, call: Call, folder: Path) -> None:
    (folder / "endpoint.json").write_text(content)
    fails(call("queues"), 1, "endpoint.json is damaged", "batchyard serve")


def test_a_folder_without_a_service_says_how_to_start_one(call: Call, tmp_path: Path) -> None:
    fails(call("queues", "--data", str(tmp_path / "new")), 3, "No service has run", f"batchyard serve --data {tmp_path / 'new'}")


def test_a_service_that_is_down_says_how_to_start_it(call: Call, service: FakeService) -> None:
    service.close()
    fails(call("queues"), 3, "does not answer", "batchyard serve --data")


@pytest.mark.parametrize(
    ("code", "status", "exit_code", "advice"),
    [
        ("ExpiredTokenException", 403, 4, "aws sso login"),
        ("InvalidSignatureException", 403, 4, "clock"),
        ("UnrecognizedClientException", 403, 4, "batchyard env"),
        ("AccessDeniedException", 403, 4, "permission"),
        ("ClientException", 400, 1, ""),
        ("com.amazonaws.batch#ClientException:http://x", 400, 1, "(ClientException)"),
    ],
)
def test_refusals_become_a_sentence(code: str, status: int, exit_code: int, advice: str, call: Call, service: FakeService) -> None:
    def refuse(params: dict[str, object]) -> dict[str, object]:
        raise Refuse(status, code, "the words of the service")

    service.answers["DescribeJobs"] = refuse
    fails(call("job", "x"), exit_code, "the words of the service", advice)


def test_wrong_keys_are_refused_and_said(call: Call, folder: Path) -> None:
    endpoint = json.loads((folder / "endpoint.json").read_text())
    (folder / "endpoint.json").write_text(json.dumps(endpoint | {"secret_access_key": "wrong"}))
    fails(call("job", "x"), 4, "signature", "secret key")


def test_something_else_on_the_port_is_said(call: Call, service: FakeService) -> None:
    service.raw = (200, "text/html", b"<html>a home page</html>")
    fails(call("queues"), 3, "is not AWS Batch", "a home page")


def test_an_answer_that_is_no_http_is_said(call: Call, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = json.loads((folder / "endpoint.json").read_text())
        (folder / "endpoint.json").write_text(json.dumps(endpoint | {"endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}"}))

        def hang_up() -> None:
            connection, _ = silent.accept()
            connection.recv(10)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        fails(call("cancel", "x"), 3, "does not answer")
        thread.join()


def test_reads_are_repeated_when_the_service_is_busy_or_hung_up_and_submissions_are_not(call: Call, service: FakeService) -> None:
    times = {"DescribeJobQueues": 0, "SubmitJob": 0}

    def busy(name: str) -> Callable[[dict[str, object]], dict[str, object]]:
        def answer(params: dict[str, object]) -> dict[str, object]:
            times[name] += 1
            if times[name] < 2:
                raise Refuse(503, "ServiceUnavailable", "busy")
            return {"jobQueues": []}

        return answer

    for name in times:
        service.answers[name] = busy(name)
    service.drop_kept = True
    assert call("queues").exit_code == 0
    fails(call("submit", "-q", "default", "-d", "align"), 1, "busy", "fault of the service")
    assert times == {"DescribeJobQueues": 2, "SubmitJob": 1}


def test_env_works_after_eval(call: Call, service: FakeService, bare: pytest.MonkeyPatch, folder: Path) -> None:
    bare.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere")
    bare.setenv("AWS_PROFILE", "lab")
    bare.setenv("AWS_DATA_PATH", f"/elsewhere:{WAITERS}")
    bare.setenv("HTTP_PROXY", "http://proxy:3128")
    result = call("env")
    assert result.exit_code == 0, result.stderr
    shown = "env | grep -E '^AWS_|^NO_PROXY'"
    told = subprocess.run(
        ["sh", "-c", f'eval "$1"; {shown}', "sh", result.stdout], capture_output=True, text=True, env=dict(os.environ), check=True
    )
    assert set(told.stdout.split()) == {
        f"AWS_ENDPOINT_URL={service.url}",
        f"AWS_ACCESS_KEY_ID={KEY}",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"AWS_DEFAULT_REGION={REGION}",
        f"AWS_REGION={REGION}",
        f"AWS_DATA_PATH={WAITERS}:/elsewhere",
        "AWS_EC2_METADATA_DISABLED=true",
        "NO_PROXY=127.0.0.1,localhost",
    }
    assert json.loads(call("env", "--json").stdout)["AWS_REGION"] == REGION


def test_env_and_down_need_a_service_of_this_machine(call: Call, service: FakeService, bare: pytest.MonkeyPatch) -> None:
    service.close()
    fails(call("env"), 3, "does not answer", "batchyard serve --data")
    bare.delenv("BATCHYARD_DATA")
    fails(CliRunner().invoke(batchyard, ["env"]), 3, "No service to use", "--data DIR")
    bare.setenv("AWS_ENDPOINT_URL", "https://batch.eu-west-1.amazonaws.com")
    fails(CliRunner().invoke(batchyard, ["down"]), 2, "No service to end", "cannot be taken down")


def test_down_says_when_there_is_nothing_to_end(call: Call, service: FakeService) -> None:
    service.close()
    fails(call("down"), 3, "does not run: there is nothing to end")


def test_down_asks_once_and_waits_until_nobody_answers(call: Call, service: FakeService) -> None:
    def end(params: dict[str, object]) -> dict[str, object]:
        threading.Timer(0.3, service.close).start()
        return {"jobs": 2}

    service.answers["own:down"] = end
    result = call("down", "--keep-jobs", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["jobs"] == 2
    assert service.named("own:down") == [{"keepJobs": True}]


@pytest.mark.parametrize("command", ["--help", "jobs"])
def test_commands_start_without_what_is_slow_to_import(command: str, service: FakeService, folder: Path, bare: pytest.MonkeyPatch) -> None:
    service.answers["DescribeJobQueues"] = lambda params: {"jobQueues": []}
    bare.setenv("BATCHYARD_DATA", str(folder))
    listing = "import sys; from batchyard.main.cli import batchyard\ntry: batchyard([sys.argv[1]])\nfinally: print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", listing, command], capture_output=True, text=True, env=dict(os.environ), check=True)
    imported = {name.partition(".")[0] for name in told.stdout.splitlines()[-1].split()}
    assert "click" in imported
    assert not imported & {"boto3", "botocore", "rich", "asyncio", "msgspec", "apsw", "uvicorn", "urllib3"}


def test_a_wrong_command_names_the_nearest_one(call: Call) -> None:
    fails(call("jbos"), 2, "Did you mean 'jobs'?")


def test_https_goes_through_the_proxy_of_the_environment(bare: pytest.MonkeyPatch) -> None:
    """As other AWS clients do; what the proxy refuses is a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        heard: list[bytes] = []

        def refuse() -> None:
            connection, _ = proxy.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        bare.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        bare.setenv("AWS_ENDPOINT_URL", "https://batch.eu-west-1.amazonaws.com")
        bare.setenv("AWS_ACCESS_KEY_ID", KEY)
        bare.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        fails(CliRunner().invoke(batchyard, ["job", "x"]), 3, "AWS Batch in us-east-1 does not answer", "407")
        thread.join()
    assert heard[0].startswith(b"CONNECT batch.eu-west-1.amazonaws.com:443 ")

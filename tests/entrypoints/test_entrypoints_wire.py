"""Jobs that begin with an entry point, on a real service with its buckets: by the AWS CLI, and by boto3 where there is no CLI."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import reader
from yard import Yard, until

SCRIPT = b'#!/bin/sh\necho "in ${PWD##*/} with $# arguments: $*"\nexit 3\n'


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A service whose jobs find the AWS CLI, with a bucket and a queue."""
    options = ("--vcpus", "4", "--memory-mib", "4096", "--expose", str(reader.tools()))
    with reader.started(tmp_path_factory.mktemp("entrypoints"), reader.environment(), *options) as yard:
        yard.client("s3").create_bucket(Bucket="lab")
        yield yard.with_queue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The entry points, where jobs may run them."""
    folder = Path(reader.tools()) / "entrypoints"
    subprocess.run([sys.executable, "-m", "batchyard.main", "entrypoint", "install", "--to", str(folder)], check=True, timeout=60)
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def ended(yard: Yard, folder: Path, name: str, *arguments: str, **variables: str) -> tuple[dict[str, Any], list[str]]:
    """The job when it is over, and what it wrote."""
    definition = yard.definition_of(name, str(folder / name), *arguments, memory_mib=512)
    overrides = {"environment": [{"name": key, "value": value} for key, value in variables.items()]}
    job = yard.until(yard.submit(definition, containerOverrides=overrides))
    return job, yard.logs(job)


def put(yard: Yard, key: str, body: bytes) -> str:
    yard.client("s3").put_object(Bucket="lab", Key=key, Body=body)
    return f"s3://lab/{key}"


def keys(yard: Yard, prefix: str) -> list[str]:
    return [one["Key"] for one in yard.client("s3").list_objects_v2(Bucket="lab", Prefix=prefix).get("Contents", [])]


def body(yard: Yard, key: str) -> bytes:
    return yard.client("s3").get_object(Bucket="lab", Key=key)["Body"].read()  # type: ignore[no-any-return]


def archive(**contents: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as packed:
        for name, content in contents.items():
            packed.writestr(name.replace("__", "/") + ".sh", content)
    return held.getvalue()


def test_a_script_is_fetched_and_run_and_its_exit_code_is_the_jobs(yard: Yard, folder: Path) -> None:
    url = put(yard, "bin/count.sh", SCRIPT)
    job, log = ended(yard, folder, "fetch_and_run", "count.sh", "a", "b c", BATCH_FILE_TYPE="script", BATCH_FILE_S3_URL=url)
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 3)
    assert log[-1].endswith("with 2 arguments: a b c")


def test_a_program_of_an_archive_runs_where_it_was_unpacked(yard: Yard, folder: Path) -> None:
    url = put(yard, "bin/tool.zip", archive(main=b"#!/bin/sh\n. ./lib/words.sh\necho $word $1\n", lib__words=b"word=hello\n"))
    asked = {"BATCH_FILE_TYPE": "zip", "BATCH_FILE_S3_URL": url}
    job, log = ended(yard, folder, "fetch_and_run", "main.sh", "world", **asked)
    assert (job["status"], log) == ("SUCCEEDED", ["hello world"])
    job, log = ended(yard, folder, "fetch_and_run", "other.sh", **asked)
    assert (job["container"]["exitCode"], log) == (125, [f"fetch_and_run: there is no other.sh in {url}"])


def test_what_is_not_there_fails_with_a_clear_word(yard: Yard, folder: Path) -> None:
    asked = {"BATCH_FILE_TYPE": "script", "BATCH_FILE_S3_URL": "s3://lab/nothing"}
    job, log = ended(yard, folder, "fetch_and_run", "x", **asked)
    assert job["container"]["exitCode"] == 125
    assert log[-1] == "fetch_and_run: s3://lab/nothing cannot be fetched"


def test_inputs_come_and_outputs_go(yard: Yard, folder: Path) -> None:
    for name in ("a.fastq", "b.fastq", "notes.txt"):
        put(yard, f"reads/run1/{name}", f"@{name}\n".encode())
    put(yard, "ref/genome.fa", b">chr\n")
    put(yard, "panel/sub/x.bed", b"x\n")
    line = "cat *.fastq genome.fa | tee all.txt; mkdir -p qc/deep; cp sub/x.bed qc/deep/; echo 1 > qc/n; ls; pwd"
    job, log = ended(
        yard, folder, "stage_and_run", line,
        JOB_INPUTS="s3://lab/reads/$RUN/*.fastq s3://lab/ref/genome.fa s3://lab/panel/", RUN="run1",
        JOB_OUTPUTS="all.t* qc", JOB_OUTPUT_PREFIX="s3://lab/results/${RUN}/", JOB_DATA_ISOLATION="1",
    )  # fmt: skip
    assert job["status"] == "SUCCEEDED", log
    assert body(yard, "results/run1/all.txt") == b"@a.fastq\n@b.fastq\n>chr\n"
    assert keys(yard, "results/run1/") == ["results/run1/all.txt", "results/run1/qc/deep/x.bed", "results/run1/qc/n"]
    assert "notes.txt" not in log
    assert any(line.endswith(f"/{job['jobId']}/1") for line in log)


def test_nothing_goes_out_when_the_command_fails_or_an_output_is_missing(yard: Yard, folder: Path) -> None:
    asked = {"JOB_OUTPUTS": "a.txt", "JOB_OUTPUT_PREFIX": "s3://lab/none", "JOB_DATA_ISOLATION": "1"}
    job, _ = ended(yard, folder, "stage_and_run", "echo x > a.txt; exit 4", **asked)
    assert job["container"]["exitCode"] == 4
    job, log = ended(yard, folder, "stage_and_run", "true", **asked)
    assert (job["container"]["exitCode"], log) == (125, ["stage_and_run: output a.txt was not made"])
    job, log = ended(yard, folder, "stage_and_run", "true", JOB_INPUTS="s3://lab/none/*.bam")
    assert job["container"]["exitCode"] == 125
    assert log[-1] == "stage_and_run: input s3://lab/none/*.bam: nothing in the bucket matches it"
    assert not keys(yard, "none")


def test_what_links_in_an_output_lead_to_goes_out_too(yard: Yard, folder: Path) -> None:
    asked = {"JOB_OUTPUTS": "qc", "JOB_OUTPUT_PREFIX": "s3://lab/links"}
    line = "mkdir qc aside; echo x > aside/made; ln -s ../aside/made qc/file; ln -s ../aside qc/folder"
    job, log = ended(yard, folder, "stage_and_run", line, **asked)
    assert job["status"] == "SUCCEEDED", log
    assert keys(yard, "links/") == ["links/qc/file", "links/qc/folder/made"]
    assert body(yard, "links/qc/file") == b"x\n"
    job, log = ended(yard, folder, "stage_and_run", "mkdir qc; ln -s nowhere qc/broken", **asked)
    assert job["container"]["exitCode"] == 125
    assert log[-1] == "stage_and_run: output qc/broken cannot be taken to s3://lab/links/qc/broken"


def test_workflow_runs_keep_their_outputs_apart(yard: Yard, folder: Path) -> None:
    job, log = ended(
        yard, folder, "stage_and_run", "echo x > a.txt",
        JOB_OUTPUTS="a.txt", JOB_OUTPUT_PREFIX="s3://lab/wf", JOB_WORKFLOW_NAME="germline", JOB_WORKFLOW_EXECUTION_ID="run-7",
    )  # fmt: skip
    assert job["status"] == "SUCCEEDED", log
    assert keys(yard, "wf/") == ["wf/germline/run-7/a.txt"]


def test_a_terminated_job_is_told_and_leaves_nothing_in_the_bucket(yard: Yard, folder: Path) -> None:
    definition = yard.definition_of("slow", str(folder / "stage_and_run"), "trap 'echo told; exit 9' TERM; echo on; sleep 600 & wait")
    overrides = {"environment": [{"name": "JOB_OUTPUTS", "value": "a.txt"}, {"name": "JOB_OUTPUT_PREFIX", "value": "s3://lab/term"}]}
    job_id = yard.submit(definition, containerOverrides=overrides)
    job = yard.until(job_id, "RUNNING")
    until(lambda: True if "on" in yard.logs(job) else None, "its first word")
    yard.batch.terminate_job(jobId=job_id, reason="enough")
    job = yard.until(job_id)
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 9)
    assert set(yard.logs(job)) == {"on", "told"}, "told once, or twice: where a job is a process the node tells its children too"
    assert not keys(yard, "term")


@pytest.mark.parametrize("name", ["fetch_and_run", "stage_and_run"])
def test_boto3_does_it_where_there_is_no_aws_cli(yard: Yard, folder: Path, tmp_path: Path, name: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("sh", "bash", "mktemp", "rm", "rmdir", "mkdir", "chmod", "cat", "cut", "find", "sort", "uniq"):
        (programs / program).symlink_to(next(p for d in ("/bin", "/usr/bin") if (p := Path(d) / program).exists()))
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python3").chmod(0o755)
    for one in ("a", "sub/b"):
        put(yard, f"boto3/in/{one}.txt", one.encode())
    settings = {k: v for k, v in yard.environment.items() if k.startswith("AWS_")} | {"PATH": str(programs), "TMPDIR": str(tmp_path)}
    if name == "fetch_and_run":
        settings |= {"BATCH_FILE_TYPE": "zip", "BATCH_FILE_S3_URL": put(yard, "boto3/t.zip", archive(run=b"#!/bin/sh\necho $1\n"))}
        arguments = ["run.sh", "in an archive"]
    else:
        settings |= {
            "JOB_INPUTS": "s3://lab/boto3/in/ s3://lab/boto3/in/a.txt",
            "JOB_OUTPUTS": "sub",
            "JOB_OUTPUT_PREFIX": "s3://lab/boto3/out",
        }
        arguments = ["cat a.txt sub/b.txt; echo"]
    command = [str(folder / name), *arguments]
    told = subprocess.run(command, env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout == ("in an archive\n" if name == "fetch_and_run" else "asub/b\n")
    assert name == "fetch_and_run" or keys(yard, "boto3/out") == ["boto3/out/sub/b.txt"]


@pytest.fixture(params=["the AWS CLI", "boto3"])
def staged(request: pytest.FixtureRequest, yard: Yard, folder: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `stage_and_run` beside the service, in a directory of its own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    if request.param == "boto3":
        for program in ("bash", "sh", "mktemp", "rm", "rmdir", "mkdir", "chmod", "cat", "cut", "find", "sort", "uniq", "touch"):
            (programs / program).symlink_to(next(p for d in ("/bin", "/usr/bin") if (p := Path(d) / program).exists()))
        (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (programs / "python3").chmod(0o755)
    else:
        (programs / "aws").symlink_to(Path(reader.tools()) / "aws")
    search = str(programs) if request.param == "boto3" else f"{programs}:/usr/bin:/bin"
    settings = {k: v for k, v in yard.environment.items() if k.startswith("AWS_")} | {"PATH": search, "TMPDIR": str(tmp_path)}

    def run(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        command = [str(folder / "stage_and_run"), line]
        told = subprocess.run(command, env=settings | variables, cwd=place, capture_output=True, text=True, timeout=300, check=False)
        assert not list(tmp_path.glob("stage_and_run.*")), "temporary files are left"
        return told

    return run


def test_two_inputs_of_one_name_are_refused_and_one_that_is_named_twice_is_not(
    yard: Yard, staged: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for key in ("twice/a/x to y.txt", "twice/a/only.txt", "twice/b/x to y.txt", "twice/b/sub/only.txt"):
        put(yard, key, key.encode())
    told = staged("true", JOB_INPUTS="s3://lab/twice/a/ s3://lab/twice/b/*.txt")
    assert (told.returncode, told.stderr.splitlines()[-1]) == (
        125, "stage_and_run: two inputs are called x to y.txt: one has overwritten the other",
    )  # fmt: skip
    told = staged("cat only.txt", JOB_INPUTS="s3://lab/twice/a/ s3://lab/twice/a/only.txt s3://lab/twice/b/sub/")
    assert (told.returncode, told.stderr.splitlines()[-1]) == (
        125, "stage_and_run: two inputs are called only.txt: one has overwritten the other",
    )  # fmt: skip
    told = staged("cat *.txt sub/only.txt", JOB_INPUTS="s3://lab/twice/a/ s3://lab/twice/a/only.txt s3://lab/twice/b/sub*")
    assert (told.returncode, told.stdout) == (0, "twice/a/only.txttwice/a/x to y.txttwice/b/sub/only.txt"), told.stderr


def test_outputs_of_every_name_go_where_they_belong(yard: Yard, staged: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    prefix = f"odd-{time.monotonic_ns()}"
    line = "mkdir -p 'd/e f' d/none none; touch 'd/e f/ü x' 'd/ first' ./-dash 'top file.txt'"
    told = staged(line, JOB_OUTPUTS="d/ none -dash top*.txt", JOB_OUTPUT_PREFIX=f"s3://lab/{prefix}")
    assert told.returncode == 0, told.stderr
    assert keys(yard, prefix) == [f"{prefix}/{name}" for name in ("-dash", "d/ first", "d/e f/ü x", "top file.txt")]
    assert "stage_and_run: output none is a directory without files" in told.stderr
    told = staged("mkdir b; touch a b/c", JOB_OUTPUTS=".", JOB_OUTPUT_PREFIX=f"s3://lab/all-{prefix}/")
    assert told.returncode == 0, told.stderr
    assert keys(yard, f"all-{prefix}") == [f"all-{prefix}/a", f"all-{prefix}/b/c"]
    told = staged("true", JOB_OUTPUTS="..", JOB_OUTPUT_PREFIX=f"s3://lab/{prefix}")
    assert (told.returncode, "output .. has no name" in told.stderr) == (125, True)

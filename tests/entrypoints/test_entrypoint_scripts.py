"""The entry points in each shell that images have: what they refuse, what goes on to the command, what they leave behind. No service."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batchyard.main import shipped

SHELLS = [shell for shell in (("dash",), ("bash",), ("bash", "--posix"), ("busybox", "sh")) if shutil.which(shell[0])]
TOLD = """
import signal, sys, time
for number in (2, 15):
    signal.signal(number, lambda number, _: sys.exit(40 + number))
print("on", flush=True)
time.sleep(60)
"""
CLEAN = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a job starts: with both entry points beside it, and a directory for temporary files."""
    for name in shipped.ENTRYPOINTS:
        (tmp_path / name).write_text(shipped.entrypoint(name))
    for folder in ("work", "tmp"):
        (tmp_path / folder).mkdir()
    return tmp_path / "work"


def begun(shell: tuple[str, ...], name: str, place: Path, /, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    environment = {**CLEAN, "TMPDIR": str(place.parent / "tmp"), **variables}
    command = [*shell, str(place.parent / name), *arguments]
    return subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ran(shell: tuple[str, ...], name: str, place: Path, /, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    process = begun(shell, name, place, *arguments, **variables)
    out, err = process.communicate(timeout=60)
    assert not list((place.parent / "tmp").iterdir()), "temporary files are left"
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("variables", "arguments", "told"),
    [
        ({}, ["x"], "BATCH_FILE_TYPE is not set"),
        ({"BATCH_FILE_TYPE": "tar"}, ["x"], "BATCH_FILE_TYPE is 'tar'"),
        ({"BATCH_FILE_TYPE": "script"}, ["x"], "BATCH_FILE_S3_URL is not set"),
        ({"BATCH_FILE_TYPE": "script", "BATCH_FILE_S3_URL": "https://a/b"}, ["x"], "it must be s3://BUCKET/KEY"),
        ({"BATCH_FILE_TYPE": "zip", "BATCH_FILE_S3_URL": "s3://a/b"}, [], "an archive needs an argument"),
    ],
)
def test_fetch_and_run_says_what_is_missing(
    shell: tuple[str, ...], place: Path, variables: dict[str, str], arguments: list[str], told: str
) -> None:
    code, out, err = ran(shell, "fetch_and_run", place, *arguments, **variables)
    assert (code, out) == (125, "")
    assert err.startswith("fetch_and_run: ") and told in err


@pytest.mark.parametrize(
    ("variables", "arguments", "told"),
    [
        ({}, [], "there is no command to run"),
        ({"JOB_OUTPUT_PREFIX": "/results"}, ["true"], "JOB_OUTPUT_PREFIX is '/results': it must begin with s3://"),
        ({"JOB_DATA_ISOLATION": "yes"}, ["true"], "JOB_DATA_ISOLATION is 'yes'"),
        ({"JOB_INPUTS": "reads.fastq"}, ["true"], "input reads.fastq is not there"),
        ({"JOB_INPUTS": "s3://bucket"}, ["true"], "input s3://bucket: it must be s3://BUCKET/KEY"),
        ({"JOB_INPUTS": "s3://$BUCKET/a"}, ["true"], "the variable BUCKET is not set"),
        ({"JOB_INPUTS": "s3://b/$(date)"}, ["true"], "'$' is no variable"),
        ({"JOB_OUTPUTS": "a.bam"}, ["true"], "output a.bam was not made"),
        ({"JOB_OUTPUTS": "*.bam"}, ["true"], "output *.bam was not made"),
        ({"JOB_OUTPUTS": "a/x b/x"}, ["mkdir a b; touch a/x b/x"], "two outputs are called x"),
        ({"JOB_OUTPUTS": "a/.."}, ["mkdir a"], "output a/.. has no name"),
    ],
)
def test_stage_and_run_says_what_is_wrong(
    shell: tuple[str, ...], place: Path, variables: dict[str, str], arguments: list[str], told: str
) -> None:
    code, out, err = ran(shell, "stage_and_run", place, *arguments, **variables)
    assert (code, out) == (125, "")
    assert err.startswith("stage_and_run: ") and told in err


FAKE_AWS = """#!/bin/sh
case $* in
  *--recursive*) mkdir -p sub; touch 'a to b' sub/c
    printf 'download: %s%s to %s\\n' "$9" 'a to b' './a to b' "$9" sub/c sub/c ;;
  *) touch "$5" ;;
esac
"""


@pytest.mark.parametrize(
    ("inputs", "twice"),
    [
        ("s3://b/one/ s3://b/two/c", ""),
        ("s3://b/one/ s3://b/one/sub/c", ""),
        ("s3://b/one/ s3://b/two/", "a to b"),
        ("s3://b/x/c s3://b/y/c", "c"),
        ("s3://b/x/c s3://b/x/c", ""),
    ],
)
def test_what_came_from_where_is_noted(shell: tuple[str, ...], place: Path, inputs: str, twice: str) -> None:
    programs = place.parent / "bin"
    programs.mkdir()
    (programs / "aws").write_text(FAKE_AWS)
    (programs / "aws").chmod(0o755)
    code, _, err = ran(shell, "stage_and_run", place, "true", JOB_INPUTS=inputs, PATH=f"{programs}:{CLEAN['PATH']}")
    assert (code, f"two inputs are called {twice}" in err) == (125 if twice else 0, bool(twice)), err


def test_the_command_is_a_line_of_shell_and_its_exit_code_is_kept(shell: tuple[str, ...], place: Path) -> None:
    (place / "b.txt").write_text("two\n")
    (place / "a.txt").write_text("one\n")
    code, out, _ = ran(shell, "stage_and_run", place, "cat", "*.txt", "|", "tr a-z A-Z;", "exit 7")
    assert (code, out) == (7, "ONE\nTWO\n")
    code, _, err = ran(shell, "stage_and_run", place, "no-such-program")
    assert code == 127 and "no-such-program" in err


def test_variables_of_the_job_reach_it_untouched(shell: tuple[str, ...], place: Path) -> None:
    mine = {"name": "n", "code": "3", "id": "i", "prefix": "p", "url": "u", "item": "x y", "told": "", "rest": "r", "NAME": "N"}
    (place / "r.txt").touch()
    code, out, _ = ran(shell, "stage_and_run", place, "env", JOB_INPUTS="$rest.txt ${rest}.txt", JOB_DATA_ISOLATION="0", **mine)
    assert code == 0
    assert {line.partition("=")[0]: line.partition("=")[2] for line in out.splitlines() if "=" in line}.items() >= mine.items()


def test_each_attempt_works_in_a_directory_of_its_own_which_goes_at_the_end(shell: tuple[str, ...], place: Path) -> None:
    asked = {"AWS_BATCH_JOB_ID": "11-22:3", "AWS_BATCH_JOB_ATTEMPT": "2", "JOB_DATA_ISOLATION": "1"}
    code, out, _ = ran(shell, "stage_and_run", place, "pwd; touch here; exit 5", **asked, JOB_DATA_KEEP="0", JOB_VERBOSE="0")
    assert (code, out) == (5, f"{place}/11-22-3/2\n")
    assert not list(place.iterdir())
    root = place.parent / "scratch"
    code, out, err = ran(shell, "stage_and_run", place, "echo x > here", **asked, JOB_DATA_KEEP="1", JOB_DATA_ROOT=str(root))
    assert code == 0 and f"kept: {root}/11-22-3/2" in err
    assert (root / "11-22-3" / "2" / "here").read_text() == "x\n"
    code, _, err = ran(shell, "stage_and_run", place, "true", **asked, JOB_DATA_ROOT=str(root))
    assert code == 125 and "no directory of this attempt" in err, "never into what another left"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_goes_on_to_the_command_which_has_the_last_word(shell: tuple[str, ...], place: Path, number: signal.Signals) -> None:
    (place / "program.py").write_text(TOLD)
    process = begun(shell, "stage_and_run", place, f"exec {sys.executable} program.py", JOB_DATA_ISOLATION="0", JOB_OUTPUTS="never")
    assert process.stdout is not None and process.stdout.readline() == "on\n"
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 40 + number
    assert not list((place.parent / "tmp").iterdir())


def test_a_signal_is_not_lost_however_early_and_changes_no_exit_code(shell: tuple[str, ...], place: Path) -> None:
    """The command has the signal sent before its shell may know that it is there, and as it ends."""
    for _ in range(10):
        code, _, _ = ran(shell, "stage_and_run", place, 'trap "exit 43" TERM; kill -TERM $PPID; while :; do sleep 0.05; done')
        assert code == 43
        code, _, err = ran(shell, "stage_and_run", place, 'trap "" TERM; kill -TERM $PPID; exit 42')
        assert code == 42 or (code, shell[0]) == (143, "bash"), err  # which loses it now and then


def test_a_command_that_ends_well_when_told_to_still_has_its_outputs_looked_for(shell: tuple[str, ...], place: Path) -> None:
    line = "trap 'echo half > a.txt; kill $!; exit 0' TERM; sleep 60 & echo on; wait"
    process = begun(shell, "stage_and_run", place, line, JOB_OUTPUTS="a.txt")
    assert process.stdout is not None and process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "stage_and_run: output a.txt stays here\n")


def test_without_the_aws_cli_and_boto3_it_says_so(shell: tuple[str, ...], place: Path) -> None:
    programs = place.parent / "bin"
    programs.mkdir()
    for name in ("mktemp", "rm", "mkdir", *{one[0] for one in SHELLS}):
        (programs / name).symlink_to(str(shutil.which(name)))
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    (programs / "python3").chmod(0o755)
    asked = {"PATH": str(programs), "BATCH_FILE_TYPE": "script", "BATCH_FILE_S3_URL": "s3://b/k"}
    code, _, err = ran(shell, "fetch_and_run", place, "x", **asked)
    assert code == 125
    assert err == "neither the AWS CLI nor a python3 with boto3 is there\nfetch_and_run: s3://b/k cannot be fetched\n"


def batchyard(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "batchyard.main", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_command_lists_shows_and_installs_them(tmp_path: Path) -> None:
    assert "fetch_and_run  runs a script, or a program of a zip archive" in batchyard("entrypoint", "list").stdout
    told = json.loads(batchyard("entrypoint", "list", "--json").stdout)
    assert [one["name"] for one in told["entrypoints"]] == list(shipped.ENTRYPOINTS)
    shown = batchyard("entrypoint", "show", "stage_and_run").stdout
    assert shown == shipped.entrypoint("stage_and_run") and "#include" not in shown
    assert batchyard("entrypoint", "install", "--to", str(tmp_path / "bin"), "stage_and_run").stdout == f"{tmp_path}/bin/stage_and_run\n"
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["stage_and_run"]
    assert (tmp_path / "bin" / "stage_and_run").stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").touch()
    refused = batchyard("entrypoint", "install", "--to", str(tmp_path / "file" / "below"))
    assert refused.returncode == 1 and "cannot be written: Not a directory." in refused.stderr

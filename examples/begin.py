"""What the examples begin from: the genomics environment's names, a reference genome and reads in its bucket, and tools that jobs can call.

    eval "$(python examples/begin.py)"

on a service that `batchyard up` has made and `batchyard env` has pointed this shell at. Prints `export` lines: QUEUE and URGENT_QUEUE
(names), BUCKET, TOOLS (a folder with `aws`, `bwa`, `samtools` and `bcftools` that jobs on this machine can start), EXAMPLES (this
folder), and REFERENCE, READS_1, READS_2 (S3 URLs).
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shlex
import shutil
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER / "variant-calling"))

import environment  # noqa: E402 - found only now
from variant_calling import endpoint, interpreter, lookalike, workflow  # noqa: E402

SEED = 1
PROGRAMS = ("aws", "bwa", "samtools", "bcftools")


def main() -> None:
    """Make what is missing and say where it is."""
    clients = endpoint.connect(
        endpoint.Endpoint(
            os.environ["AWS_ENDPOINT_URL"],
            os.environ["AWS_REGION"],
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
        )
    )
    place = environment.find(clients)
    urls = {key: f"s3://{place.results_bucket}/{key}" for key in (workflow.REFERENCE, *workflow.READS)}
    with tempfile.TemporaryDirectory() as folder:
        for key, path in workflow.write_inputs(pathlib.Path(folder), SEED).items():
            clients.s3.put_object(Bucket=place.results_bucket, Key=key, Body=path.read_bytes())
    told = {
        "QUEUE": place.default_queue,
        "URGENT_QUEUE": place.high_priority_queue,
        "BUCKET": place.results_bucket,
        "TOOLS": str(tools()),
        "EXAMPLES": str(FOLDER),
        "REFERENCE": urls[workflow.REFERENCE],
        "READS_1": urls[workflow.READS[0]],
        "READS_2": urls[workflow.READS[1]],
    }
    for name, value in told.items():
        print(f"export {name}={shlex.quote(value)}")


def tools() -> pathlib.Path:
    """A folder with the programs, each under its own name: this machine's own, else those inside the wheels of awscli, pysam and pybwa."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="batchyard-tools-", dir=lookalike.PUBLIC))
    folder.chmod(0o755)
    if importlib.util.find_spec("awscli"):
        lookalike.PACKAGES += ("awscli",)
    python = interpreter.for_jobs()
    settings = [f"{name}={value}" for name, value in python.environment.items()]
    for name in PROGRAMS:
        own = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
        module = ["-m", "awscli"] if name == "aws" else [str(python.example / "tool.py"), name]
        command = [own] if own else ["env", *settings, python.python, *module]
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


if __name__ == "__main__":
    main()

"""Metaflow's @batch: the reference is cut into windows here, and each window's GC share is computed by a task on Batch."""

from __future__ import annotations

import os

from metaflow import FlowSpec, batch, environment, step

WINDOW = 12_126  # a quarter of the genome
IN_JOBS = {"PATH": os.environ["PATH"], "METAFLOW_SKIP_INSTALL_DEPENDENCIES": "1"}  # Python and Metaflow are where they are here


class Depth(FlowSpec):
    """Fan out over windows, and join."""

    @step
    def start(self) -> None:
        """Read the reference from the bucket; runs here."""
        import boto3

        bucket, _, key = os.environ["REFERENCE"].removeprefix("s3://").partition("/")
        text = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        bases = "".join(line for line in text.splitlines() if not line.startswith(">"))
        self.windows = [bases[start : start + WINDOW] for start in range(0, len(bases), WINDOW)]
        self.next(self.share, foreach="windows")

    @environment(vars=IN_JOBS)
    @batch(cpu=1, memory=512, image="genomics-tools", queue=os.environ.get("QUEUE", ""))
    @step
    def share(self) -> None:
        """One window, on Batch."""
        self.gc = sum(base in "GC" for base in self.input) / len(self.input)
        self.job = os.environ["AWS_BATCH_JOB_ID"]
        self.next(self.join)

    @step
    def join(self, inputs: object) -> None:
        """All windows; runs here."""
        self.shares = [f"{each.gc:.3f}" for each in inputs]
        self.jobs = len({each.job for each in inputs})
        self.next(self.end)

    @step
    def end(self) -> None:
        """Say it."""
        print(f"GC by quarter: {', '.join(self.shares)}; {self.jobs} jobs")


if __name__ == "__main__":
    Depth()

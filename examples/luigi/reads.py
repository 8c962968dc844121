"""Two Luigi tasks on AWS Batch: count the reads of a sample, then align them; Luigi starts the second when the first is done."""

from __future__ import annotations

import os

import luigi
import luigi.contrib.batch

FETCH = "aws s3 cp --quiet $READS_1 1.fq.gz; aws s3 cp --quiet $READS_2 2.fq.gz;"
COUNT = f"{FETCH} gzip -cd 1.fq.gz 2.fq.gz | awk 'END {{ print NR / 4, \"reads\" }}'"
ALIGN = f"{FETCH} aws s3 cp --quiet $REFERENCE r.fa; bwa index r.fa; bwa mem r.fa 1.fq.gz 2.fq.gz > a.sam; samtools flagstat a.sam"


class _Shell(luigi.contrib.batch.BatchTask):
    """A job of the definition `shell`, whose command is a parameter; a file tells Luigi that it is done."""

    job_definition = luigi.Parameter(default="shell")
    job_queue = luigi.Parameter(default=os.environ["QUEUE"])
    poll_time = luigi.IntParameter(default=1)
    script = ""

    @property
    def parameters(self) -> dict[str, str]:
        """What replaces Ref::script in the definition's command."""
        return {"script": self.script}

    def run(self) -> None:
        """Submit and wait, then leave the mark."""
        super().run()
        with self.output().open("w") as mark:
            mark.write(self.script)

    def output(self) -> luigi.LocalTarget:
        """The mark."""
        return luigi.LocalTarget(f"{type(self).__name__}.done")


class CountReads(_Shell):
    """How many reads there are."""

    job_name = "count-reads"
    script = COUNT


class Align(_Shell):
    """bwa, then samtools flagstat."""

    job_name = "align"
    script = ALIGN

    def requires(self) -> CountReads:
        """Count first."""
        return CountReads()

"""A Toil workflow: one job aligns, one calls variants, and files pass between them through the job store in S3."""

from __future__ import annotations

import subprocess
from argparse import Namespace
from pathlib import Path

from toil.common import Toil
from toil.fileStores import FileID
from toil.fileStores.abstractFileStore import AbstractFileStore
from toil.job import Job, Promised

MEMORY, DISK = "512M", "100M"
ALIGN = """
aws s3 cp --quiet "$REFERENCE" genome.fa; aws s3 cp --quiet "$READS_1" 1.fq.gz; aws s3 cp --quiet "$READS_2" 2.fq.gz
bwa index genome.fa; bwa mem genome.fa 1.fq.gz 2.fq.gz | samtools sort -o reads.bam -
"""
CALL = """
aws s3 cp --quiet "$REFERENCE" genome.fa
bcftools mpileup -f genome.fa reads.bam | bcftools call --ploidy 1 -mv -o variants.vcf
"""


def shell(script: str, folder: str) -> None:
    """Runs a script in a folder of the job; what it says is in the job's log."""
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=folder, check=True)


def align(job: Job) -> FileID:
    """The sorted alignments."""
    store: AbstractFileStore = job.fileStore
    folder = store.getLocalTempDir()
    shell(ALIGN, folder)
    return store.writeGlobalFile(f"{folder}/reads.bam")


def call(job: Job, reads: Promised[FileID]) -> str:
    """How many variants there are."""
    store: AbstractFileStore = job.fileStore
    folder = store.getLocalTempDir()
    store.readGlobalFile(reads, f"{folder}/reads.bam")
    shell(CALL, folder)
    with Path(folder, "variants.vcf").open() as lines:
        return f"{sum(not line.startswith('#') for line in lines)} variants"


def main() -> None:
    """Align, then call."""
    options: Namespace = Job.Runner.getDefaultArgumentParser().parse_args()
    with Toil(options) as toil:
        if options.restart:
            print(toil.restart())
            return
        print(toil.start(Job.wrapJobFn(both, memory=MEMORY, disk=DISK, cores=1)))


def both(job: Job) -> Promised[str]:
    """The workflow: what the second job returns."""
    reads = job.addChildJobFn(align, memory=MEMORY, disk=DISK, cores=1)
    return reads.addFollowOnJobFn(call, reads.rv(), memory=MEMORY, disk=DISK, cores=1).rv()


if __name__ == "__main__":
    main()

"""Variant calling with redun: one script task aligns and calls, and a Python task on Batch counts what was found, region by region."""

from __future__ import annotations

import itertools
import os

from redun import File, script, task

redun_namespace = "lambda_phage"
REGIONS = (0, 16000, 32000, 48502)


@task()
def call(reference: File, first: File, second: File, vcf: str) -> object:
    """bwa, samtools and bcftools in one job."""
    return script(
        """
        bwa index r.fa
        bwa mem r.fa 1.fq.gz 2.fq.gz > a.sam
        samtools sort -o a.bam a.sam
        samtools index a.bam
        samtools faidx r.fa
        bcftools mpileup -Ou -f r.fa -o a.bcf a.bam
        bcftools call --ploidy 1 -mv -Ov -o a.vcf a.bcf
        """,
        inputs=[reference.stage("r.fa"), first.stage("1.fq.gz"), second.stage("2.fq.gz")],
        outputs=File(vcf).stage("a.vcf"),
        executor="batch",
    )


@task(executor="batch")
def count(vcf: File, start: int, end: int) -> int:
    """Calls with a position in (start, end]; children of one array job."""
    lines = [line for line in vcf.read().splitlines() if not line.startswith("#")]
    return sum(start < int(line.split("\t")[1]) <= end for line in lines)


@task()
def summary(counts: list[int]) -> str:
    """What is printed at the end; runs here."""
    return f"{sum(counts)} variants, {min(counts)} to {max(counts)} a region"


@task()
def main() -> str:
    """The workflow."""
    vcf = call(*(File(os.environ[name]) for name in ("REFERENCE", "READS_1", "READS_2")), f"s3://{os.environ['BUCKET']}/redun/variants.vcf")
    return summary([count(vcf, start, end) for start, end in itertools.pairwise(REGIONS)])

"""The workflow as a table: which step follows which, and how many jobs each one is. Run by Batch or on the spot."""

from __future__ import annotations

import dataclasses
import pathlib
import random

from variant_calling import genome, sample, sequencer

REFERENCE = "reference/lambda.fa"
READS = ("reads/lambda.R1.fastq.gz", "reads/lambda.R2.fastq.gz")
TRUTH = "truth/planted.vcf"
CONFIDENT = "truth/confident.bed"
BAM = "results/lambda.bam"
DEPTH = "results/depth.tsv.gz"
VCF = "results/variants.vcf.gz"
COMPARISON = "results/comparison.json"


@dataclasses.dataclass(frozen=True)
class Step:
    """One step: a Batch job, or an array job of `size` children when it has a size."""

    name: str
    purpose: str
    size: int | None = None
    after: tuple[str, ...] = ()
    lockstep_after: str | None = None
    """A step of the same size whose child i alone is waited for by child i (N_TO_N)."""
    memory_mib: int = 512
    urgent: bool = False
    """Whether it goes to the high-priority queue."""

    @property
    def waits_for(self) -> tuple[str, ...]:
        """All steps that come before it."""
        return self.after + ((self.lockstep_after,) if self.lockstep_after else ())


def steps(shards: int, regions: int) -> list[Step]:
    """Variant calling in the order of its dependencies; `shards` and `regions` are array sizes, 2 or more."""
    if shards < 2 or regions < 2:
        raise ValueError(f"an array job has at least 2 children: {shards} shards, {regions} regions")
    return [
        Step("index", "index the reference (bwa, samtools)"),
        Step("shard", "cut the reads into shards"),
        Step("align", "align each shard (bwa mem)", size=shards, after=("index", "shard")),
        Step("sort", "mates and order (samtools)", size=shards, lockstep_after="align"),
        Step("merge", "merge, mark duplicates, index", after=("sort",)),
        Step("call", "call each region (bcftools)", size=regions, after=("merge",)),
        Step("gather", "one VCF and its index", after=("call",)),
        Step("compare", "planted against called", after=("gather",), urgent=True),
    ]


def write_inputs(folder: pathlib.Path, seed: int) -> dict[str, pathlib.Path]:
    """A sample and its reads for the seed as files in `folder`, by the key under which the steps look for them."""
    dice = random.Random(seed)
    reference = genome.read_reference()
    variants = sample.plant(reference.bases, dice)
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {key: folder / pathlib.PurePosixPath(key).name for key in (REFERENCE, *READS, TRUTH, CONFIDENT)}
    inputs[REFERENCE].write_bytes(genome.REFERENCE.read_bytes())
    pairs = sequencer.sequence(sample.apply(reference.bases, variants), dice)
    sequencer.write_pairs(pairs, inputs[READS[0]], inputs[READS[1]])
    sample.write_vcf(inputs[TRUTH], reference, variants)
    genome.write_bed(inputs[CONFIDENT], reference.name, genome.confident_regions(reference.bases))
    return inputs

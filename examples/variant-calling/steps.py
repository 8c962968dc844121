"""The program inside every job of the example: one sub-command per step, files in and out through the bucket."""

from __future__ import annotations

import argparse
import collections.abc
import json
import os
import pathlib
import signal
import sys
import tempfile
import time
import types

from variant_calling import alignment, calling, comparison, genome, staging, workflow

HOLD_S = 240.0
"""How long the one shard that is to lose its instance waits for that; see `hold_for_reclaim`."""


class Job:
    """What a step knows of itself: its shelf, its private folder, its place in the array."""

    def __init__(self, shelf: staging.Shelf, folder: pathlib.Path, options: argparse.Namespace) -> None:
        self.shelf = shelf
        self.folder = folder
        self.shards: int = options.shards
        self.regions: int = options.regions
        self.held_shard: int = options.hold_shard
        self.index = int(os.environ.get("AWS_BATCH_JOB_ARRAY_INDEX", "0"))
        self.attempt = int(os.environ.get("AWS_BATCH_JOB_ATTEMPT", "1"))

    def fetch(self, key: str) -> pathlib.Path:
        """The object as a file of the private folder."""
        path = self.folder / pathlib.PurePosixPath(key).name
        self.shelf.fetch(key, path)
        return path

    def store(self, path: pathlib.Path, key: str) -> None:
        """The file as an object of the run."""
        self.shelf.store(path, key)
        print(f"stored {key} ({path.stat().st_size:,} bytes)", flush=True)


def index(job: Job) -> None:
    """Index the reference for bwa and samtools."""
    for made in alignment.build_index(job.fetch(workflow.REFERENCE)):
        job.store(made, f"reference/{made.name}")


def shard(job: Job) -> None:
    """Cut the reads into shards."""
    first, second = (job.fetch(key) for key in workflow.READS)
    counts = alignment.cut_into_shards(first, second, job.shards, job.folder)
    for number, count in enumerate(counts):
        for end in ("R1", "R2"):
            name = f"{number:03d}.{end}.fastq.gz"
            job.store(job.folder / name, f"shards/{name}")
        print(f"shard {number}: {count} pairs", flush=True)


def align(job: Job) -> None:
    """Align the shard of this child."""
    reference = _indexed_reference(job, (*alignment.INDEX_SUFFIXES, ".fai"))
    first, second = (job.fetch(f"shards/{job.index:03d}.{end}.fastq.gz") for end in ("R1", "R2"))
    bam = job.folder / f"{job.index:03d}.bam"
    written = alignment.align(reference, first, second, bam)
    print(f"shard {job.index}: {written} alignments in attempt {job.attempt}", flush=True)
    if job.index == job.held_shard and job.attempt == 1:
        hold_for_reclaim()
    job.store(bam, f"aligned/{bam.name}")


def sort(job: Job) -> None:
    """Mate fields and coordinate order for the shard of this child."""
    unsorted = job.fetch(f"aligned/{job.index:03d}.bam")
    bam = job.folder / f"sorted.{job.index:03d}.bam"
    alignment.sort_shard(unsorted, bam)
    job.store(bam, f"sorted/{job.index:03d}.bam")


def merge(job: Job) -> None:
    """One BAM of all shards, its index, its depth."""
    bam = job.folder / pathlib.PurePosixPath(workflow.BAM).name
    alignment.merge([job.fetch(f"sorted/{number:03d}.bam") for number in range(job.shards)], bam)
    print(alignment.flagstat(bam), flush=True)
    depth = job.folder / "depth.tsv.gz"
    alignment.write_depth(bam, depth)
    job.store(depth, workflow.DEPTH)
    job.store(bam, workflow.BAM)
    job.store(bam.with_name(bam.name + ".bai"), f"{workflow.BAM}.bai")


def call(job: Job) -> None:
    """Call the region of this child."""
    reference = _indexed_reference(job, (".fai",))
    bam = job.fetch(workflow.BAM)
    job.fetch(f"{workflow.BAM}.bai")
    whole = genome.read_genome(reference)
    length = len(whole.bases)
    region = genome.calling_regions(length, job.regions)[job.index]
    vcf = job.folder / f"{job.index:03d}.vcf.gz"
    records = calling.call_region(reference, bam, whole.name, region, length, vcf)
    print(f"{whole.name}:{region.start + 1}-{region.end}: {records} records", flush=True)
    job.store(vcf, f"calls/{vcf.name}")


def gather(job: Job) -> None:
    """The regions' calls as one VCF with an index."""
    vcf = job.folder / pathlib.PurePosixPath(workflow.VCF).name
    calling.gather([job.fetch(f"calls/{number:03d}.vcf.gz") for number in range(job.regions)], vcf)
    job.store(vcf, workflow.VCF)
    job.store(vcf.with_name(vcf.name + ".tbi"), f"{workflow.VCF}.tbi")


def compare(job: Job) -> None:
    """Judge the VCF; SystemExit with status 1 unless precision and recall are both 1."""
    reference = _indexed_reference(job, (".fai",))
    confident = genome.read_bed(job.fetch(workflow.CONFIDENT))
    result = comparison.compare_files(job.fetch(workflow.TRUTH), job.fetch(workflow.VCF), reference, confident)
    report = job.folder / "comparison.json"
    report.write_text(json.dumps(result.as_json(), indent=2) + "\n", encoding="ascii")
    print(report.read_text(encoding="ascii"), flush=True)
    job.store(report, workflow.COMPARISON)
    if not result.perfect:
        sys.exit(1)


def hold_for_reclaim() -> None:
    """Wait to be told to stop, so that the loss of the instance falls into this attempt with its work done.

    A shard takes about a second here; without this, whether the notice still meets it would be a matter of luck.
    """
    print(f"holding the result back for at most {HOLD_S:.0f} s: this instance is about to be reclaimed", flush=True)
    time.sleep(HOLD_S)
    print("nobody reclaimed the instance: going on", flush=True)


def _indexed_reference(job: Job, suffixes: tuple[str, ...]) -> pathlib.Path:
    """The reference with the index files of these suffixes beside it, and its dictionary."""
    reference = job.fetch(workflow.REFERENCE)
    for suffix in suffixes:
        job.fetch(f"{workflow.REFERENCE}{suffix}")
    job.fetch(workflow.REFERENCE.replace(".fa", ".dict"))
    return reference


STEPS: dict[str, collections.abc.Callable[[Job], None]] = {
    function.__name__: function for function in (index, shard, align, sort, merge, call, gather, compare)
}


def _stop(number: int, _frame: types.FrameType | None) -> None:
    """End as the signal asks, but by way of the clean-up of the private folder."""
    print(f"told to stop by {signal.Signals(number).name}", flush=True)
    sys.exit(128 + number)


def main(arguments: list[str] | None = None) -> None:
    """Run one step in a folder of its own, which is removed at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--at", required=True, help="where the run lies: s3://bucket/prefix or file:///folder")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--regions", type=int, default=4)
    parser.add_argument("--hold-shard", type=int, default=-1, help="the shard that waits to lose its instance")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    where = f"job {os.environ.get('AWS_BATCH_JOB_ID', 'none')}, attempt {os.environ.get('AWS_BATCH_JOB_ATTEMPT', '1')}"
    print(f"{options.step} begins ({where})", flush=True)
    with tempfile.TemporaryDirectory(prefix="step-", dir=pathlib.Path.cwd()) as folder:
        STEPS[options.step](Job(staging.open_shelf(options.at), pathlib.Path(folder), options))


if __name__ == "__main__":
    main()

"""Stands in for the pybwa wheel in the example's image: the same calls, carried out by Debian's `bwa` and `samtools`."""

from __future__ import annotations

import itertools
import pathlib
import subprocess
import tempfile
import typing

import pysam


class BwaIndex:
    """`bwa index`, and the dictionary that the wheel makes with it."""

    @staticmethod
    def index(fasta: str) -> None:
        """Index a FASTA file: all files beside it."""
        subprocess.run(["bwa", "index", fasta], check=True, stdin=subprocess.DEVNULL)
        subprocess.run(["samtools", "dict", "-o", str(pathlib.Path(fasta).with_suffix(".dict")), fasta], check=True)


class BwaMemOptions:
    """The one option that the example sets."""

    def __init__(self, *, interleaved_paired_end: bool) -> None:
        self.arguments = ["-p"] if interleaved_paired_end else []

    def finalize(self) -> BwaMemOptions:
        """Themselves."""
        return self


class BwaMem:
    """`bwa mem` against an indexed reference."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __enter__(self) -> BwaMem:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def align(self, queries: list[typing.Any], *, opt: BwaMemOptions) -> list[list[typing.Any]]:
        """The alignments of each query, in the order of the queries."""
        with tempfile.TemporaryDirectory() as folder:
            reads, sam = pathlib.Path(folder, "reads.fastq"), pathlib.Path(folder, "aligned.sam")
            with reads.open("w", encoding="ascii") as output:
                output.writelines(f"@{query.name}\n{query.sequence}\n+\n{query.quality}\n" for query in queries)
            with sam.open("wb") as output:
                subprocess.run(["bwa", "mem", *opt.arguments, self._prefix, str(reads)], check=True, stdout=output)
            with pysam.AlignmentFile(str(sam), check_sq=False) as aligned:
                records = list(aligned)
        by_read = itertools.groupby(records, key=lambda record: (record.query_name, record.is_read2))
        return [list(group) for _, group in by_read]

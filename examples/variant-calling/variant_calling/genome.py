"""The reference genome, and the part of it on which the demo promises to find every variant."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import pathlib

REFERENCE = pathlib.Path(__file__).resolve().parent.parent / "data" / "lambda.fa"
REFERENCE_LENGTH = 48_502
REFERENCE_MD5 = "509bdb356475a21077713babc47a4a35"

END_MARGIN = 500
"""Bases at each end that are not promised: fewer fragments reach them, so coverage falls to nothing."""
REPEAT_MARGIN = 10
"""Bases beside a low-complexity stretch that are not promised either: an indel there can be written in many ways."""
REPEATS = ((1, 6), (2, 8), (3, 9), (4, 12), (5, 15), (6, 18))
"""Low complexity: (period, length) of a tandem repeat from which on it counts, in bases."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A half-open stretch of the genome, 0-based as in BED."""

    start: int
    end: int

    def __contains__(self, position: int) -> bool:
        return self.start <= position < self.end

    @property
    def length(self) -> int:
        """Number of bases."""
        return self.end - self.start


@dataclasses.dataclass(frozen=True)
class Genome:
    """A genome of one sequence: its name and its bases in upper case."""

    name: str
    bases: str


def read_genome(path: pathlib.Path) -> Genome:
    """The one sequence of a FASTA file; ValueError when there is none, or more than one."""
    lines = path.read_text(encoding="ascii").splitlines()
    headers = [line for line in lines if line.startswith(">")]
    if len(headers) != 1:
        raise ValueError(f"{path} holds {len(headers)} sequences; this example works on genomes of one sequence")
    name = headers[0][1:].split()[0]
    return Genome(name, "".join(line.strip() for line in lines if not line.startswith(">")).upper())


def read_reference() -> Genome:
    """Phage lambda as shipped; ValueError when the file is not the sequence that data/README.md describes."""
    genome = read_genome(REFERENCE)
    digest = hashlib.md5(genome.bases.encode("ascii"), usedforsecurity=False).hexdigest()
    if len(genome.bases) != REFERENCE_LENGTH or digest != REFERENCE_MD5:
        raise ValueError(f"{REFERENCE} is damaged: {len(genome.bases)} bases with MD5 {digest}, not {REFERENCE_MD5}")
    return genome


def tandem_repeats(bases: str, period: int, length: int) -> list[Interval]:
    """Maximal stretches of at least `length` bases in which every base equals the one `period` before it."""
    found = []
    start = 0
    while start + period < len(bases):
        end = start
        while end + period < len(bases) and bases[end] == bases[end + period]:
            end += 1
        if end > start and end - start + period >= length:
            found.append(Interval(start, end + period))
        start = max(start + 1, end)
    return found


def doubtful_regions(bases: str) -> list[Interval]:
    """The ends and the low-complexity stretches with their margins: sorted, merged, from the reference alone."""
    doubtful = [Interval(0, min(END_MARGIN, len(bases))), Interval(max(0, len(bases) - END_MARGIN), len(bases))]
    for period, length in REPEATS:
        doubtful += [
            Interval(max(0, repeat.start - REPEAT_MARGIN), min(len(bases), repeat.end + REPEAT_MARGIN))
            for repeat in tandem_repeats(bases, period, length)
        ]
    merged: list[Interval] = []
    for interval in sorted(doubtful, key=lambda interval: interval.start):
        if merged and interval.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, interval.end))
        else:
            merged.append(interval)
    return merged


def confident_regions(bases: str) -> list[Interval]:
    """The rest of the genome: here every planted variant must be called, and nothing else may be."""
    confident = []
    start = 0
    for doubtful in doubtful_regions(bases):
        if doubtful.start > start:
            confident.append(Interval(start, doubtful.start))
        start = doubtful.end
    if start < len(bases):
        confident.append(Interval(start, len(bases)))
    return confident


def calling_regions(length: int, count: int) -> list[Interval]:
    """The genome cut into `count` regions of nearly equal length, one for each child of the calling array."""
    cuts = [length * index // count for index in range(count + 1)]
    return [Interval(start, end) for start, end in itertools.pairwise(cuts)]


def write_bed(path: pathlib.Path, name: str, intervals: list[Interval]) -> None:
    """The intervals as BED: name, 0-based start, end."""
    path.write_text("".join(f"{name}\t{i.start}\t{i.end}\n" for i in intervals), encoding="ascii")


def read_bed(path: pathlib.Path) -> list[Interval]:
    """The intervals of a BED file, in the order of the file."""
    rows = [line.split("\t") for line in path.read_text(encoding="ascii").splitlines() if line]
    return [Interval(int(row[1]), int(row[2])) for row in rows]

"""From reads to one sorted, indexed BAM: bwa mem from the pybwa wheel, samtools from the pysam wheel, on local files."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import itertools
import pathlib
import statistics
import typing

import pysam
import pysam.samtools

if typing.TYPE_CHECKING:
    import collections.abc

SAMPLE = "lambda-sample"
INDEX_SUFFIXES = (".amb", ".ann", ".bwt", ".pac", ".sa")
CONFIDENT_MAPQ = 20
"""Mapping quality from which on a pair tells about the insert size."""
FIRST_OF_PAIR = 0x40
SECOND_OF_PAIR = 0x80
PROPER_PAIR = 0x2


@dataclasses.dataclass(frozen=True)
class InsertSizes:
    """The template lengths in bases that count as a proper pair."""

    shortest: int
    longest: int


def build_index(reference: pathlib.Path) -> list[pathlib.Path]:
    """`bwa index`, `samtools faidx` and `samtools dict` of a FASTA file: the files made, all beside it."""
    import pybwa

    pybwa.BwaIndex.index(str(reference))
    pysam.samtools.faidx(str(reference))
    made = [reference.with_name(reference.name + suffix) for suffix in (*INDEX_SUFFIXES, ".fai")]
    return [*made, reference.with_suffix(".dict")]


def cut_into_shards(first: pathlib.Path, second: pathlib.Path, shards: int, folder: pathlib.Path) -> list[int]:
    """Deal the pairs of two FASTQ files round into `shards` pairs of files `NNN.R1.fastq.gz`; the pairs in each."""
    counts = [0] * shards
    for end, source in (("R1", first), ("R2", second)):
        with contextlib.ExitStack() as stack:
            outputs = [stack.enter_context(_gzip_writer(folder / f"{shard:03d}.{end}.fastq.gz")) for shard in range(shards)]
            lines = stack.enter_context(gzip.open(source, "rt", encoding="ascii"))
            for number, record in enumerate(itertools.zip_longest(*[lines] * 4)):
                if None in record or not record[0].startswith("@"):
                    raise ValueError(f"{source} is not a whole FASTQ file: record {number + 1} is cut off")
                outputs[number % shards].writelines(record)
                counts[number % shards] += end == "R1"
    return counts


def align(reference: pathlib.Path, first: pathlib.Path, second: pathlib.Path, bam: pathlib.Path) -> int:
    """`bwa mem` of one shard's pairs against an indexed reference: an unsorted BAM, grouped by name; reads written."""
    import pybwa

    queries = list(_interleaved(first, second))
    options = pybwa.BwaMemOptions(interleaved_paired_end=True).finalize()
    with pybwa.BwaMem(str(reference)) as mem:
        aligned = mem.align(queries, opt=options)
    pairs = list(zip(aligned[0::2], aligned[1::2], strict=True))
    _flag_pairs(pairs)
    header = aligned[0][0].header.to_dict() if aligned else {}
    for line in header.get("SQ", []):
        line.pop("UR", None)  # the path of a private directory is of no use to anybody later
    header["RG"] = [{"ID": "1", "SM": SAMPLE, "PL": "ILLUMINA", "LB": "1"}]
    header["PG"] = [{"ID": "bwa", "PN": "bwa", "CL": "bwa mem -p"}]
    written = 0
    with pysam.AlignmentFile(str(bam), "wb", header=header) as output:
        for record in itertools.chain.from_iterable(itertools.chain.from_iterable(pairs)):
            record.set_tag("RG", "1")
            written += output.write(record) > 0
    return written


def sort_shard(unsorted: pathlib.Path, bam: pathlib.Path) -> None:
    """`samtools fixmate -m` (mate fields and scores) and `samtools sort` of one shard."""
    paired = unsorted.with_suffix(".fixmate.bam")
    pysam.samtools.fixmate("-m", str(unsorted), str(paired))
    pysam.samtools.sort("-o", str(bam), str(paired))


def merge(shards: list[pathlib.Path], bam: pathlib.Path) -> None:
    """`samtools merge`, `markdup` and `index` of the sorted shards; `quickcheck` refuses a truncated file."""
    merged = bam.with_suffix(".merged.bam")
    pysam.samtools.quickcheck(*map(str, shards))
    pysam.samtools.merge("-f", "-c", "-p", str(merged), *map(str, shards))
    pysam.samtools.markdup(str(merged), str(bam))
    pysam.samtools.index(str(bam))


def flagstat(bam: pathlib.Path) -> str:
    """`samtools flagstat`: how many reads there are, mapped, properly paired, duplicates."""
    return str(pysam.samtools.flagstat(str(bam)))


def write_depth(bam: pathlib.Path, path: pathlib.Path) -> None:
    """`samtools depth -a`: name, 1-based position and depth of every base, gzipped."""
    with _gzip_writer(path) as output:
        output.write(str(pysam.samtools.depth("-a", str(bam))))


def read_depth(path: pathlib.Path) -> list[int]:
    """The depth of every base of the genome, in order."""
    with gzip.open(path, "rt", encoding="ascii") as lines:
        return [int(line.split("\t")[2]) for line in lines]


def proper_sizes(template_lengths: list[int]) -> InsertSizes:
    """What bwa itself takes for a proper pair: within 3 quartile ranges and 4 deviations, outliers left out."""
    if len(template_lengths) < 10:
        return InsertSizes(1, 1_000)
    lower, _, upper = statistics.quantiles(template_lengths, n=4)
    width = upper - lower
    typical = [size for size in template_lengths if lower - 2 * width <= size <= upper + 2 * width]
    mean, deviation = statistics.fmean(typical), statistics.pstdev(typical)
    shortest = min(lower - 3 * width, mean - 4 * deviation)
    longest = max(upper + 3 * width, mean + 4 * deviation)
    return InsertSizes(max(1, round(shortest)), round(longest))


def _gzip_writer(path: pathlib.Path) -> typing.TextIO:
    """The path opened for quick compression."""
    return gzip.open(path, "wt", compresslevel=3, encoding="ascii")


def _interleaved(first: pathlib.Path, second: pathlib.Path) -> collections.abc.Iterator[pysam.FastxRecord]:
    """Both ends of each pair in turn; ValueError when the files do not belong together."""
    with pysam.FastxFile(str(first), persist=True) as ones, pysam.FastxFile(str(second), persist=True) as twos:
        for one, two in itertools.zip_longest(ones, twos):
            if one is None or two is None or one.name != two.name:
                raise ValueError(f"{first.name} and {second.name} do not hold the same pairs")
            yield one
            yield two


def _flag_pairs(pairs: list[tuple[list[pysam.AlignedSegment], list[pysam.AlignedSegment]]]) -> None:
    """Set the flags that the binding leaves out although bwa pairs: first or second in the pair, proper pair."""
    for one, two in pairs:
        for record in one:
            record.flag |= FIRST_OF_PAIR
        for record in two:
            record.flag |= SECOND_OF_PAIR
    facing = [(one[0], two[0], abs(one[0].template_length)) for one, two in pairs if _face_each_other(one[0], two[0])]
    sizes = proper_sizes([size for a, b, size in facing if min(a.mapping_quality, b.mapping_quality) >= CONFIDENT_MAPQ])
    for one_record, two_record, size in facing:
        if sizes.shortest <= size <= sizes.longest:
            one_record.flag |= PROPER_PAIR
            two_record.flag |= PROPER_PAIR


def _face_each_other(one: pysam.AlignedSegment, two: pysam.AlignedSegment) -> bool:
    """Whether both ends are mapped to one sequence, the left one forward and the right one reverse."""
    if one.is_unmapped or two.is_unmapped or one.reference_id != two.reference_id:
        return False
    left, right = sorted((one, two), key=lambda record: (record.reference_start, record.is_reverse))
    return not left.is_reverse and right.is_reverse

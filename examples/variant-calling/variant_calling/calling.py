"""From one BAM to a VCF: bcftools from the pysam wheel, region by region and then gathered, on local files."""

from __future__ import annotations

import pathlib

import pysam
import pysam.bcftools

from variant_calling import genome

REGION_PADDING = 200
"""Bases called on both sides of a region and cut off again, so that an indel at a cut is seen whole by both."""
LOWEST_MAPQ = 20
LOWEST_BASE_QUALITY = 12
LARGEST_DEPTH = 1_000
INDEL_SIZE = 50
"""Bases on both sides that the indel model looks at. bcftools' default of 110 loses one of two indels in one read."""
FILTER_NAME = "LowSupport"
FILTER = 'QUAL<20 || INFO/DP<4 || (TYPE="indel" && INFO/IMF<0.3)'
"""Calls that carry FILTER=LowSupport; IMF is the share of reads that show the indel as it is written."""
SNP_GAP = 10
"""A substitution called within so many bases of an indel carries FILTER=SnpGap: it is the indel, misread."""


def call_region(reference: pathlib.Path, bam: pathlib.Path, name: str, region: genome.Interval, length: int, vcf: pathlib.Path) -> int:
    """`bcftools mpileup | call --ploidy 1 | norm | filter` of one region of the genome: a bgzipped VCF; its records.

    `reference` and `bam` are indexed; `length` is that of the whole sequence. Only records that start inside the
    region after normalisation are kept, so that neighbouring regions never write the same record twice.
    """
    padded = f"{name}:{max(1, region.start + 1 - REGION_PADDING)}-{min(length, region.end + REGION_PADDING)}"
    piled, called, normed, filtered = (vcf.with_name(f"{vcf.name}.{n}.bcf") for n in ("pile", "call", "norm", "filter"))
    pysam.bcftools.mpileup(
        *("-f", str(reference), "-r", padded, "--indel-size", str(INDEL_SIZE), "-q", str(LOWEST_MAPQ)),
        *("-Q", str(LOWEST_BASE_QUALITY), "-d", str(LARGEST_DEPTH), "-a", "FORMAT/AD,FORMAT/DP,INFO/AD", "-Ou", "-o", str(piled), str(bam)),
        catch_stdout=False,
    )
    pysam.bcftools.call("--ploidy", "1", "-mv", "-Ou", "-o", str(called), str(piled), catch_stdout=False)
    pysam.bcftools.norm("-f", str(reference), "-m", "-any", "-Ou", "-o", str(normed), str(called), catch_stdout=False)
    pysam.bcftools.filter("-g", str(SNP_GAP), "-s", FILTER_NAME, "-e", FILTER, "-Ou", "-o", str(filtered), str(normed), catch_stdout=False)
    core = f"{name}:{region.start + 1}-{region.end}"
    pysam.bcftools.view(*("-t", core, "--targets-overlap", "pos", "-Oz", "-o", str(vcf), str(filtered)), catch_stdout=False)
    return len(str(pysam.bcftools.view("-H", str(vcf))).splitlines())


def gather(regions: list[pathlib.Path], vcf: pathlib.Path) -> None:
    """`bcftools concat` of the regions in genome order and a tabix index beside the result."""
    pysam.bcftools.concat("-Oz", "-o", str(vcf), *map(str, regions), catch_stdout=False)
    pysam.bcftools.index("-t", "-f", str(vcf), catch_stdout=False)

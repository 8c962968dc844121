"""The sample: the reference genome with variants planted in it, so that what a caller must find is known exactly."""

from __future__ import annotations

import collections.abc
import dataclasses
import pathlib
import random

from variant_calling import genome

SUBSTITUTIONS = 140
INSERTIONS = 50
DELETIONS = 50
HARD = 24
"""Variants planted where nothing is promised (ends, low complexity): reported, never counted."""
SPACING = 60
"""Fewest reference bases between two planted variants."""
INDEL_LENGTHS = (1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
"""Lengths of insertions and deletions in bases; short ones are the most frequent, as in nature."""
EXAMPLE_TRIES = 100_000


@dataclasses.dataclass(frozen=True, order=True)
class Variant:
    """One difference from the reference as in VCF, but `position` is 0-based; indels carry the base before them."""

    position: int
    reference: str
    alternate: str

    @property
    def end(self) -> int:
        """The position after the last reference base."""
        return self.position + len(self.reference)

    @property
    def kind(self) -> str:
        """`SNV`, `insertion` or `deletion`."""
        if len(self.reference) == len(self.alternate):
            return "SNV"
        return "insertion" if len(self.alternate) > len(self.reference) else "deletion"

    def __str__(self) -> str:
        return f"{self.position + 1}:{self.reference}>{self.alternate}"


def left_aligned(bases: str, variant: Variant) -> Variant:
    """The same change written as far left and as short as it can be: what `bcftools norm` makes of it."""
    position, reference, alternate = variant.position, variant.reference, variant.alternate
    while position > 0 and reference[-1] == alternate[-1] and reference != alternate:
        reference, alternate = reference[:-1], alternate[:-1]
        if not reference or not alternate:
            position -= 1
            reference, alternate = bases[position] + reference, bases[position] + alternate
    while len(reference) > 1 and len(alternate) > 1 and reference[0] == alternate[0]:
        position, reference, alternate = position + 1, reference[1:], alternate[1:]
    return Variant(position, reference, alternate)


def footprint(bases: str, variant: Variant) -> genome.Interval:
    """Every reference base that the change may be said to touch: from its left-most writing to its right-most one."""
    leftmost = left_aligned(bases, variant)
    if leftmost.kind == "SNV":
        return genome.Interval(leftmost.position, leftmost.end)
    changed = max(leftmost.reference, leftmost.alternate, key=len)[1:]
    end = leftmost.end
    while end < len(bases) and bases[end] == changed[0]:
        changed = changed[1:] + bases[end]
        end += 1
    return genome.Interval(leftmost.position, end)


def plant(bases: str, dice: random.Random) -> list[Variant]:
    """240 variants in the confident regions and 24 outside them, left-aligned, sorted, SPACING apart."""
    confident = genome.confident_regions(bases)
    doubtful = genome.doubtful_regions(bases)
    planted: list[Variant] = []
    taken: list[genome.Interval] = []
    kinds = ["SNV"] * SUBSTITUTIONS + ["insertion"] * INSERTIONS + ["deletion"] * DELETIONS
    orders = [(kind, confident) for kind in kinds]
    orders += [(dice.choice(kinds), doubtful) for _ in range(HARD)]
    for kind, regions in orders:
        for candidate in _candidates(bases, kind, regions, dice):
            touched = footprint(bases, candidate)
            if all(touched.end + SPACING <= other.start or other.end + SPACING <= touched.start for other in taken):
                planted.append(candidate)
                taken.append(touched)
                break
    return sorted(planted)


def _candidates(bases: str, kind: str, regions: list[genome.Interval], dice: random.Random) -> collections.abc.Iterator[Variant]:
    """Variants of one kind whose whole footprint lies in one of the regions, left-aligned, at random places."""
    lengths = [region.length for region in regions]
    for _ in range(EXAMPLE_TRIES):
        region = dice.choices(regions, weights=lengths)[0]
        position = dice.randrange(region.start, region.end)
        variant = _drawn(bases, kind, position, dice)
        if variant.end >= len(bases):
            continue
        variant = left_aligned(bases, variant)
        touched = footprint(bases, variant)
        if touched.start > 0 and touched.start >= region.start and touched.end <= region.end:
            yield variant
    raise ValueError(f"no room for another {kind}: the genome is too short for so many variants")


def _drawn(bases: str, kind: str, position: int, dice: random.Random) -> Variant:
    """A variant of the kind at the position, with random length and bases."""
    anchor = bases[position]
    if kind == "SNV":
        return Variant(position, anchor, dice.choice([base for base in "ACGT" if base != anchor]))
    length = dice.choice(INDEL_LENGTHS)
    if kind == "insertion":
        return Variant(position, anchor, anchor + "".join(dice.choices("ACGT", k=length)))
    return Variant(position, bases[position : position + 1 + length], anchor)


def apply(bases: str, variants: list[Variant]) -> str:
    """The sample's genome: the reference with the variants (sorted, apart) written into it."""
    pieces = []
    start = 0
    for variant in variants:
        if bases[variant.position : variant.end] != variant.reference:
            raise ValueError(f"the reference does not read {variant.reference} at {variant.position + 1}")
        pieces += [bases[start : variant.position], variant.alternate]
        start = variant.end
    return "".join([*pieces, bases[start:]])


def write_vcf(path: pathlib.Path, reference: genome.Genome, variants: list[Variant]) -> None:
    """The planted variants as a plain VCF of one haploid sample, `truth`."""
    lines = [
        "##fileformat=VCFv4.2",
        f"##contig=<ID={reference.name},length={len(reference.bases)}>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype (haploid)">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ttruth",
    ]
    lines += [f"{reference.name}\t{v.position + 1}\t.\t{v.reference}\t{v.alternate}\t.\tPASS\t.\tGT\t1" for v in variants]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")

"""Were the planted variants found, and nothing else? The judge of the demo."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

import pysam
import pysam.bcftools

from variant_calling import genome, sample


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What a VCF says against what was planted; the three lists count on the confident regions only."""

    found: list[sample.Variant]
    missed: list[sample.Variant]
    invented: list[sample.Variant]
    hard_found: int
    hard_planted: int

    @property
    def precision(self) -> float:
        """Share of the confident calls that were planted; 0 when nothing was called."""
        called = len(self.found) + len(self.invented)
        return len(self.found) / called if called else 0.0

    @property
    def recall(self) -> float:
        """Share of the planted variants that were called; 0 when nothing was planted."""
        planted = len(self.found) + len(self.missed)
        return len(self.found) / planted if planted else 0.0

    @property
    def perfect(self) -> bool:
        """Whether everything was found and nothing invented."""
        return bool(self.found) and not self.missed and not self.invented

    def as_json(self) -> dict[str, typing.Any]:
        """The figures and the variants by kind, for a report."""
        kinds = [variant.kind for variant in self.found]
        return {
            "precision": self.precision,
            "recall": self.recall,
            "found": len(self.found),
            "found_by_kind": {kind: kinds.count(kind) for kind in ("SNV", "insertion", "deletion")},
            "missed": [str(variant) for variant in self.missed],
            "invented": [str(variant) for variant in self.invented],
            "hard_found": self.hard_found,
            "hard_planted": self.hard_planted,
        }


def compare(truth: set[sample.Variant], calls: set[sample.Variant], confident: list[genome.Interval]) -> Comparison:
    """Both sets left-aligned; a call and a planted variant are the same when position, REF and ALT are."""

    def promised(variant: sample.Variant) -> bool:
        return any(variant.position in region for region in confident)

    sure_truth = {variant for variant in truth if promised(variant)}
    sure_calls = {variant for variant in calls if promised(variant)}
    hard = truth - sure_truth
    return Comparison(
        found=sorted(sure_truth & sure_calls),
        missed=sorted(sure_truth - sure_calls),
        invented=sorted(sure_calls - sure_truth),
        hard_found=len(hard & calls),
        hard_planted=len(hard),
    )


def compare_files(truth: pathlib.Path, calls: pathlib.Path, reference: pathlib.Path, confident: list[genome.Interval]) -> Comparison:
    """The same for two VCF files, each put through `bcftools norm` first. Only calls whose FILTER is PASS count."""
    return compare(read_variants(truth, reference), read_variants(calls, reference), confident)


def read_variants(vcf: pathlib.Path, reference: pathlib.Path) -> set[sample.Variant]:
    """The variants of a VCF with FILTER=PASS and a haploid genotype that has them, after `bcftools norm -m -any`.

    ValueError when one of them is written twice: a gather that overlaps is a wrong gather.
    """
    normed = vcf.with_name(f"{vcf.name}.normed.vcf")
    pysam.set_verbosity(1)  # errors only: a header line of bcftools call is not to the taste of bcftools norm
    pysam.bcftools.norm("-f", str(reference), "-m", "-any", "-Ov", "-o", str(normed), str(vcf), catch_stdout=False)
    variants: set[sample.Variant] = set()
    with pysam.VariantFile(str(normed)) as records:
        for record in records:
            if record.filter.keys() != ["PASS"] or record.samples[0]["GT"] != (1,):
                continue
            variant = sample.Variant(record.pos - 1, str(record.ref), (record.alts or ("",))[0])
            if variant in variants:
                raise ValueError(f"{vcf.name} holds {variant} twice")
            variants.add(variant)
    normed.unlink()
    return variants

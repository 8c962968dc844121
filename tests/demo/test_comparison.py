"""The judge is strict: a variant taken away, moved, changed, added or filtered spoils the score."""

import pathlib
import random

import pytest
from variant_calling import comparison, genome, sample

REFERENCE = genome.read_reference()
CONFIDENT = genome.confident_regions(REFERENCE.bases)


@pytest.fixture
def planted() -> list[sample.Variant]:
    return sample.plant(REFERENCE.bases, random.Random(11))


@pytest.fixture
def reference(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "lambda.fa"
    path.write_bytes(genome.REFERENCE.read_bytes())
    return path


def confident_one(planted: list[sample.Variant], kind: str) -> sample.Variant:
    return next(v for v in planted if v.kind == kind and any(v.position in region for region in CONFIDENT))


def judged(planted: list[sample.Variant], called: list[sample.Variant]) -> comparison.Comparison:
    return comparison.compare(set(planted), set(called), CONFIDENT)


def test_the_truth_itself_is_perfect(planted) -> None:
    result = judged(planted, planted)
    assert result.perfect
    assert (result.precision, result.recall) == (1.0, 1.0)
    assert len(result.found) == sample.SUBSTITUTIONS + sample.INSERTIONS + sample.DELETIONS
    assert (result.hard_found, result.hard_planted) == (sample.HARD, sample.HARD)


@pytest.mark.parametrize("kind", ["SNV", "insertion", "deletion"])
def test_a_missing_variant_costs_recall(planted, kind: str) -> None:
    missing = confident_one(planted, kind)
    result = judged(planted, [variant for variant in planted if variant != missing])
    assert not result.perfect
    assert result.missed == [missing]
    assert result.recall < 1.0 and result.precision == 1.0


def test_an_invented_variant_costs_precision(planted) -> None:
    position = next(p for p in range(2_000, 40_000) if not any(abs(v.position - p) < 30 for v in planted))
    base = REFERENCE.bases[position]
    invented = sample.Variant(position, base, "C" if base != "C" else "G")
    result = judged(planted, [*planted, invented])
    assert not result.perfect
    assert result.invented == [invented]
    assert result.precision < 1.0 and result.recall == 1.0


@pytest.mark.parametrize("kind", ["SNV", "insertion", "deletion"])
def test_a_moved_or_changed_variant_costs_both(planted, kind: str) -> None:
    true = confident_one(planted, kind)
    moved = sample.Variant(true.position + 1, true.reference, true.alternate)
    changed = sample.Variant(true.position, true.reference, true.alternate + "A")
    for wrong in (moved, changed):
        result = judged(planted, [variant for variant in planted if variant != true] + [wrong])
        assert result.missed == [true]
        assert result.invented == [wrong]


def test_nothing_called_is_not_perfect(planted) -> None:
    result = judged(planted, [])
    assert (result.precision, result.recall, result.perfect) == (0.0, 0.0, False)


def test_nothing_planted_is_not_perfect() -> None:
    assert not judged([], []).perfect


def test_hard_variants_do_not_count_either_way(planted) -> None:
    hard = [v for v in planted if not any(v.position in region for region in CONFIDENT)]
    result = judged(planted, [v for v in planted if v not in hard])
    assert result.perfect
    assert result.hard_found == 0
    elsewhere = sample.Variant(100, REFERENCE.bases[100], "A" if REFERENCE.bases[100] != "A" else "C")
    assert judged(planted, [*planted, elsewhere]).perfect


def test_files_are_normalised_before_they_are_compared(planted, reference, tmp_path) -> None:
    truth, calls = tmp_path / "truth.vcf", tmp_path / "calls.vcf"
    sample.write_vcf(truth, REFERENCE, planted)
    shifted = [rightmost(variant) for variant in planted]
    assert shifted != planted
    sample.write_vcf(calls, REFERENCE, shifted)
    assert comparison.compare_files(truth, calls, reference, CONFIDENT).perfect


def test_filtered_and_reference_calls_do_not_count(planted, reference, tmp_path) -> None:
    truth, calls = tmp_path / "truth.vcf", tmp_path / "calls.vcf"
    sample.write_vcf(truth, REFERENCE, planted)
    first, second = confident_one(planted, "SNV"), confident_one(planted, "deletion")
    lines = truth.read_text().splitlines()
    lines.insert(1, '##FILTER=<ID=LowSupport,Description="weak">')
    text = "\n".join(
        line.replace("PASS", "LowSupport")
        if f"\t{first.position + 1}\t." in line
        else line[:-1] + "0"
        if f"\t{second.position + 1}\t." in line
        else line
        for line in lines
    )
    calls.write_text(text + "\n")
    result = comparison.compare_files(truth, calls, reference, CONFIDENT)
    assert result.missed == sorted([first, second])


def test_a_variant_written_twice_is_refused(planted, reference, tmp_path) -> None:
    twice = tmp_path / "twice.vcf"
    sample.write_vcf(twice, REFERENCE, sorted([*planted, planted[3]]))
    with pytest.raises(ValueError, match="twice"):
        comparison.read_variants(twice, reference)


def rightmost(variant: sample.Variant) -> sample.Variant:
    """The same change written as far right as it can be, as a careless caller would."""
    bases = REFERENCE.bases
    while variant.kind != "SNV" and variant.end < len(bases):
        changed = max(variant.reference, variant.alternate, key=len)[1:]
        if bases[variant.end] != changed[0]:
            break
        rotated = changed[1:] + changed[0]
        anchor = bases[variant.position + 1] if variant.kind == "deletion" else changed[0]
        if variant.kind == "deletion":
            variant = sample.Variant(variant.position + 1, anchor + rotated, anchor)
        else:
            variant = sample.Variant(variant.position + 1, anchor, anchor + rotated)
    return variant

"""What the simulator plants and reads is what it says: kinds, numbers, distances, error rate, coverage."""

import collections
import itertools
import pathlib
import random
import statistics

import pysam
import pysam.bcftools
import pytest
from variant_calling import genome, sample, sequencer

REFERENCE = genome.read_reference()
BASES = REFERENCE.bases


@pytest.fixture(scope="module", params=[1, 2, 3])
def planted(request) -> list[sample.Variant]:
    return sample.plant(BASES, random.Random(request.param))


def test_at_least_200_confident_variants_of_all_kinds(planted) -> None:
    regions = genome.confident_regions(BASES)
    confident = [v for v in planted if any(v.position in region for region in regions)]
    kinds = collections.Counter(variant.kind for variant in confident)
    assert kinds == {"SNV": sample.SUBSTITUTIONS, "insertion": sample.INSERTIONS, "deletion": sample.DELETIONS}
    assert len(confident) >= 200
    assert len(planted) - len(confident) == sample.HARD
    lengths = {abs(len(v.reference) - len(v.alternate)) for v in confident}
    assert 1 in lengths
    assert max(lengths) >= 10


def test_variants_keep_their_distance(planted) -> None:
    footprints = [sample.footprint(BASES, variant) for variant in planted]
    assert all(one.end + sample.SPACING <= two.start for one, two in itertools.pairwise(footprints))


def test_same_seed_same_sample() -> None:
    assert sample.plant(BASES, random.Random(7)) == sample.plant(BASES, random.Random(7))
    assert sample.plant(BASES, random.Random(7)) != sample.plant(BASES, random.Random(8))


def test_applying_the_variants_changes_the_length_by_their_sum(planted) -> None:
    genome_of_sample = sample.apply(BASES, planted)
    change = sum(len(v.alternate) - len(v.reference) for v in planted)
    assert len(genome_of_sample) == len(BASES) + change
    first = planted[0]
    assert genome_of_sample[: first.position] == BASES[: first.position]
    assert genome_of_sample[first.position :].startswith(first.alternate)


def test_a_variant_of_another_reference_is_refused() -> None:
    wrong = sample.Variant(0, "A", "C")
    with pytest.raises(ValueError, match="does not read A at 1"):
        sample.apply(BASES, [wrong])


@pytest.mark.parametrize(
    ("bases", "variant", "normal"),
    [
        ("GATTTTC", sample.Variant(4, "TT", "T"), sample.Variant(1, "AT", "A")),
        ("GATTTTC", sample.Variant(5, "T", "TTT"), sample.Variant(1, "A", "ATT")),
        ("GCACACAT", sample.Variant(6, "A", "ACA"), sample.Variant(0, "G", "GCA")),
        ("GATTACA", sample.Variant(3, "TACA", "TAGA"), sample.Variant(5, "C", "G")),
    ],
)
def test_left_alignment(bases: str, variant: sample.Variant, normal: sample.Variant) -> None:
    assert sample.left_aligned(bases, variant) == normal


def test_footprint_reaches_from_the_leftmost_to_the_rightmost_writing() -> None:
    assert sample.footprint("GATTTTC", sample.Variant(4, "TT", "T")) == genome.Interval(1, 6)
    assert sample.footprint("GATTTTC", sample.Variant(1, "A", "AG")) == genome.Interval(1, 2)
    assert sample.footprint("GATTTTC", sample.Variant(0, "G", "C")) == genome.Interval(0, 1)


def test_planted_variants_are_as_bcftools_norm_writes_them(planted, tmp_path: pathlib.Path) -> None:
    vcf, normed, reference = (tmp_path / name for name in ("planted.vcf", "normed.vcf", "lambda.fa"))
    reference.write_bytes(genome.REFERENCE.read_bytes())
    sample.write_vcf(vcf, REFERENCE, planted)
    pysam.bcftools.norm("-f", str(reference), "-o", str(normed), str(vcf), catch_stdout=False)
    with pysam.VariantFile(str(normed)) as records:
        written = [sample.Variant(r.pos - 1, str(r.ref), (r.alts or ("",))[0]) for r in records]
    assert written == planted


def test_reads_have_one_percent_errors_and_qualities_that_say_so() -> None:
    dice = random.Random(5)
    wrong: collections.Counter[int] = collections.Counter()
    seen: collections.Counter[int] = collections.Counter()
    truth = BASES[:150]
    shares = sequencer.low_quality_shares()
    for _ in range(2_000):
        bases, qualities = sequencer._read(truth, shares, dice)
        for base, true, symbol in zip(bases, truth, qualities, strict=True):
            quality = ord(symbol) - 33
            seen[quality] += 1
            wrong[quality] += base != true
    assert sum(wrong.values()) / sum(seen.values()) == pytest.approx(sequencer.ERROR_RATE, rel=0.05)
    for quality in sequencer.QUALITIES[:2]:
        assert wrong[quality] / seen[quality] == pytest.approx(sequencer.error_probability(quality), rel=0.15)


def test_pairs_cover_the_genome_thirtyfold_with_the_stated_insert() -> None:
    dice = random.Random(3)
    pairs = list(sequencer.sequence(BASES[:6_000], dice))
    read_bases = sum(len(pair.first[0]) + len(pair.second[0]) for pair in pairs)
    assert read_bases / 6_000 == pytest.approx(sequencer.COVERAGE, rel=0.01)
    assert len({pair.name for pair in pairs}) == len(pairs)


def test_fragments_have_the_stated_length_and_the_ends_face_each_other() -> None:
    lengths = []
    for pair in sequencer.sequence(BASES[:20_000], random.Random(4)):
        first, second = pair.first[0], pair.second[0].translate(sequencer.COMPLEMENT)[::-1]
        starts = [BASES.find(first[10:40]), BASES.find(second[-40:-10])]
        if min(starts) >= 0:  # both probes are free of errors, and the first end reads forward
            lengths.append(starts[1] + 40 - (starts[0] - 10))
    assert len(lengths) > 300
    assert statistics.fmean(lengths) == pytest.approx(sequencer.INSERT_MEAN, abs=10)
    assert statistics.stdev(lengths) == pytest.approx(sequencer.INSERT_DEVIATION, abs=8)


def test_errors_become_more_frequent_along_the_read() -> None:
    shares = sequencer.low_quality_shares()
    assert shares == sorted(shares)
    assert shares[-1] / shares[0] == pytest.approx(sequencer.END_TO_START)

"""The shipped genome is phage lambda, and the confident regions follow from it alone."""

import collections
import itertools
import re

import pytest
from variant_calling import genome

BASES = genome.read_reference().bases


def fragments(site: str, offset: int) -> list[int]:
    """Lengths of the pieces that an enzyme with this site makes, the longest first."""
    cuts = [0, *(match.start() + offset for match in re.finditer(f"(?={site})", BASES)), len(BASES)]
    return sorted((end - start for start, end in itertools.pairwise(cuts)), reverse=True)


@pytest.mark.parametrize(
    ("site", "known"),
    [
        ("GAATTC", [21226, 7421, 5804, 5643, 4878, 3530]),
        ("GGATCC", [16841, 7233, 6770, 6527, 5626, 5505]),
    ],
)
def test_restriction_enzymes_cut_it_as_on_the_bench(site: str, known: list[int]) -> None:
    assert fragments(site, 1) == known


def test_composition_and_cohesive_end() -> None:
    assert collections.Counter(BASES) == {"A": 12_334, "C": 11_362, "G": 12_820, "T": 11_986}
    assert BASES.startswith("GGGCGGCGACCT")


def test_every_read_has_one_place() -> None:
    length = 25
    complement = str.maketrans("ACGT", "TGCA")
    words = [BASES[start : start + length] for start in range(len(BASES) - length + 1)]
    canonical = collections.Counter(min(word, word[::-1].translate(complement)) for word in words)
    assert max(canonical.values()) == 1


def test_damage_is_refused(tmp_path, monkeypatch) -> None:
    damaged = tmp_path / "lambda.fa"
    damaged.write_text(genome.REFERENCE.read_text().replace("GGGCGGCGACCT", "GGGCGGCGACCA", 1))
    monkeypatch.setattr(genome, "REFERENCE", damaged)
    with pytest.raises(ValueError, match="damaged"):
        genome.read_reference()


def test_a_file_of_two_sequences_is_refused(tmp_path) -> None:
    path = tmp_path / "two.fa"
    path.write_text(">a\nACGT\n>b\nACGT\n")
    with pytest.raises(ValueError, match="2 sequences"):
        genome.read_genome(path)


def test_tandem_repeats_are_maximal() -> None:
    assert genome.tandem_repeats("GATTTTTTTGC", 1, 6) == [genome.Interval(2, 9)]
    assert genome.tandem_repeats("GATTTTTGC", 1, 6) == []
    assert genome.tandem_repeats("GCACACACAT", 2, 8) == [genome.Interval(1, 9)]


def test_confident_and_doubtful_regions_share_the_genome() -> None:
    confident, doubtful = genome.confident_regions(BASES), genome.doubtful_regions(BASES)
    covered = sorted([*confident, *doubtful], key=lambda interval: interval.start)
    assert covered[0].start == 0
    assert covered[-1].end == len(BASES)
    assert all(one.end == two.start for one, two in itertools.pairwise(covered))
    share = sum(interval.length for interval in confident) / len(BASES)
    assert 0.90 < share < 0.95
    assert confident[0].start >= genome.END_MARGIN
    assert confident[-1].end <= len(BASES) - genome.END_MARGIN


def test_calling_regions_cover_the_genome_once() -> None:
    regions = genome.calling_regions(48_502, 5)
    assert regions[0].start == 0
    assert regions[-1].end == 48_502
    assert all(one.end == two.start for one, two in itertools.pairwise(regions))
    assert {region.length for region in regions} <= {9_700, 9_701}


def test_bed_comes_back_as_written(tmp_path) -> None:
    intervals = [genome.Interval(0, 10), genome.Interval(25, 30)]
    path = tmp_path / "some.bed"
    genome.write_bed(path, "NC_001416.1", intervals)
    assert genome.read_bed(path) == intervals

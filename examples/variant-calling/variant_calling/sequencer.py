"""A sequencer: paired reads of a genome with errors that the quality values tell honestly."""

from __future__ import annotations

import collections.abc
import dataclasses
import gzip
import pathlib
import random

READ_LENGTH = 150
COVERAGE = 30
INSERT_MEAN = 350
INSERT_DEVIATION = 50
ERROR_RATE = 0.01
QUALITIES = (12, 23, 37)
"""The quality values of a binned instrument; 10 ** (-Q / 10) is the chance that the base is wrong."""
MIDDLE_SHARE = 0.25
"""Share of bases with the middle quality, the same in every cycle."""
END_TO_START = 4.0
"""How many times as many low-quality bases the last cycle has as the first one."""
COMPLEMENT = str.maketrans("ACGT", "TGCA")
OTHERS = {base: "ACGT".replace(base, "") for base in "ACGT"}


@dataclasses.dataclass(frozen=True)
class Pair:
    """Both reads of one fragment: bases and Phred+33 qualities."""

    name: str
    first: tuple[str, str]
    second: tuple[str, str]


def error_probability(quality: int) -> float:
    """The chance of an error that a Phred value states."""
    return float(10 ** (-quality / 10))


def low_quality_shares(length: int = READ_LENGTH) -> list[float]:
    """For each cycle the share of low-quality bases; rises along the read, and the mean error is ERROR_RATE."""
    low, middle, high = (error_probability(quality) for quality in QUALITIES)
    mean = (ERROR_RATE - high - MIDDLE_SHARE * (middle - high)) / (low - high)
    first = 2 * mean / (1 + END_TO_START)
    step = first * (END_TO_START - 1) / (length - 1)
    return [first + step * cycle for cycle in range(length)]


def pairs_wanted(genome_length: int) -> int:
    """Pairs that cover the genome COVERAGE times on average."""
    return round(genome_length * COVERAGE / (2 * READ_LENGTH))


def sequence(bases: str, dice: random.Random) -> collections.abc.Iterator[Pair]:
    """Pairs from fragments at uniformly random places and strands of the genome, COVERAGE times over."""
    shares = low_quality_shares()
    for number in range(pairs_wanted(len(bases))):
        insert = max(READ_LENGTH, round(dice.gauss(INSERT_MEAN, INSERT_DEVIATION)))
        start = dice.randrange(len(bases) - insert + 1)
        fragment = bases[start : start + insert]
        if dice.random() < 0.5:
            fragment = _reverse_complement(fragment)
        first = _read(fragment[:READ_LENGTH], shares, dice)
        second = _read(_reverse_complement(fragment)[:READ_LENGTH], shares, dice)
        yield Pair(f"lambda:{number + 1}", first, second)


def write_pairs(pairs: collections.abc.Iterable[Pair], first: pathlib.Path, second: pathlib.Path) -> int:
    """The pairs as two gzipped FASTQ files, one per end; their number."""
    count = 0
    with (
        gzip.open(first, "wt", compresslevel=3, encoding="ascii") as first_file,
        gzip.open(second, "wt", compresslevel=3, encoding="ascii") as second_file,
    ):
        for pair in pairs:
            first_file.write(f"@{pair.name} 1:N:0:1\n{pair.first[0]}\n+\n{pair.first[1]}\n")
            second_file.write(f"@{pair.name} 2:N:0:1\n{pair.second[0]}\n+\n{pair.second[1]}\n")
            count += 1
    return count


def _reverse_complement(bases: str) -> str:
    return bases.translate(COMPLEMENT)[::-1]


def _read(bases: str, low_quality: list[float], dice: random.Random) -> tuple[str, str]:
    """What the instrument makes of the bases: some of them wrong, and for each how sure it is."""
    chances = [error_probability(quality) for quality in QUALITIES]
    symbols = [chr(33 + quality) for quality in QUALITIES]
    read = []
    qualities = []
    for base, low in zip(bases, low_quality, strict=True):
        drawn = dice.random()
        grade = 0 if drawn < low else 1 if drawn < low + MIDDLE_SHARE else 2
        qualities.append(symbols[grade])
        read.append(dice.choice(OTHERS[base]) if dice.random() < chances[grade] else base)
    return "".join(read), "".join(qualities)

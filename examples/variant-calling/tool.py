"""`bwa`, `samtools` and `bcftools` on the command line, out of the wheels of pybwa and pysam, for machines where they are not installed.

    python tool.py samtools sort -o out.bam in.bam
    python tool.py bwa index reference.fa
    python tool.py bwa mem reference.fa reads_1.fastq.gz reads_2.fastq.gz > out.sam

samtools and bcftools are whole; of bwa there are `index` and `mem` of one pair of FASTQ files, without options.
"""

from __future__ import annotations

import pathlib
import shutil
import sys
import tempfile
import typing

import pysam
import pysam.bcftools
import pysam.samtools

DISPATCHERS: dict[str, typing.Any] = {"samtools": pysam.samtools, "bcftools": pysam.bcftools}
USAGE = "usage: bwa index REFERENCE | bwa mem REFERENCE READS_1 READS_2"


def main(program: str, arguments: list[str]) -> int:
    """The exit status."""
    if program == "bwa":
        return bwa(arguments)
    command = getattr(DISPATCHERS[program], arguments[0] if arguments else "", None)
    if command is None:
        print(f"usage: {program} COMMAND ...", file=sys.stderr)
        return 1
    try:
        printed(command, *arguments[1:])
    except pysam.SamtoolsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def printed(command: typing.Any, *arguments: str) -> None:
    """Run a command of pysam and pass on what it writes, which may be binary."""
    with tempfile.NamedTemporaryFile() as caught:
        command(*arguments, save_stdout=caught.name)
        with open(caught.name, "rb") as written:
            shutil.copyfileobj(written, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def bwa(arguments: list[str]) -> int:
    """`bwa index` and `bwa mem`; the alignments go to stdout as SAM."""
    from variant_calling import alignment

    match arguments:
        case ["index", reference]:
            alignment.build_index(pathlib.Path(reference))
        case ["mem", reference, first, second]:
            with tempfile.TemporaryDirectory() as folder:
                bam = pathlib.Path(folder) / "aligned.bam"
                alignment.align(pathlib.Path(reference), pathlib.Path(first), pathlib.Path(second), bam)
                printed(pysam.samtools.view, "-h", str(bam))
        case _:
            print(USAGE, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

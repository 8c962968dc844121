"""The whole workflow without a service: every planted variant is called and nothing else, whatever the seed."""

import gzip

import local
import pytest
from variant_calling import alignment, staging, workflow


@pytest.mark.parametrize(("seed", "shards", "regions"), [(1, 2, 2), (20, 4, 5), (300, 3, 4)])
def test_precision_and_recall_are_one(tmp_path, seed: int, shards: int, regions: int) -> None:
    report = local.run_locally(seed, tmp_path, shards=shards, regions=regions)
    assert (report["precision"], report["recall"]) == (1.0, 1.0)
    assert report["found"] >= 200
    assert (report["missed"], report["invented"]) == ([], [])
    depth = alignment.read_depth(tmp_path / workflow.DEPTH)
    assert len(depth) == 48_502
    assert 27 < sum(depth) / len(depth) < 31
    assert list(tmp_path.glob("step-*")) == []
    spoil_one_call(tmp_path)
    assert local._run_apart("compare", 0, tmp_path, shards, regions) == 1


def spoil_one_call(folder) -> None:
    """Take one variant out of the VCF: the judge must not let it pass."""
    vcf = folder / workflow.VCF
    lines = gzip.decompress(vcf.read_bytes()).decode().splitlines(keepends=True)
    passed = [line for line in lines if "\tPASS\t" in line]
    lines.remove(passed[len(passed) // 2])
    vcf.write_bytes(gzip.compress("".join(lines).encode()))


def test_a_step_that_fails_is_told(tmp_path, monkeypatch) -> None:
    def write_nothing(folder, seed):
        return {}

    monkeypatch.setattr(workflow, "write_inputs", write_nothing)
    with pytest.raises(RuntimeError, match="step index 0 of seed 4 ended with status 1"):
        local.run_locally(4, tmp_path)
    assert "FileNotFoundError" in (tmp_path / "job.log").read_text()


def test_a_file_that_is_cut_off_is_refused(tmp_path) -> None:
    inputs = workflow.write_inputs(tmp_path / "sequencer", 2)
    first, second = (inputs[key] for key in workflow.READS)
    lines = gzip.decompress(first.read_bytes()).splitlines(keepends=True)
    first.write_bytes(gzip.compress(b"".join(lines[:-2])))
    with pytest.raises(ValueError, match="cut off"):
        alignment.cut_into_shards(first, second, 2, tmp_path)


def test_reads_that_do_not_belong_together_are_refused(tmp_path) -> None:
    for name, read in (("one.fastq", "a"), ("two.fastq", "b")):
        (tmp_path / name).write_text(f"@{read}\nACGT\n+\nIIII\n")
    with pytest.raises(ValueError, match="same pairs"):
        list(alignment._interleaved(tmp_path / "one.fastq", tmp_path / "two.fastq"))


def test_the_steps_form_a_chain_with_arrays(tmp_path) -> None:
    steps = workflow.steps(4, 5)
    names = [step.name for step in steps]
    assert all(names.index(earlier) < names.index(step.name) for step in steps for earlier in step.waits_for)
    assert {step.name: step.size for step in steps if step.size} == {"align": 4, "sort": 4, "call": 5}
    with pytest.raises(ValueError, match="at least 2"):
        workflow.steps(1, 5)


def test_a_shelf_in_a_folder_is_whole_or_nothing(tmp_path) -> None:
    shelf = staging.open_shelf((tmp_path / "shelf").as_uri())
    source = tmp_path / "source"
    source.write_text("reads")
    shelf.store(source, "a/b")
    shelf.fetch("a/b", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "reads"
    assert [path.name for path in (tmp_path / "shelf" / "a").iterdir()] == ["b"]
    with pytest.raises(FileNotFoundError):
        shelf.fetch("a/c", tmp_path / "none")
    with pytest.raises(ValueError, match="neither"):
        staging.open_shelf("ftp://somewhere")

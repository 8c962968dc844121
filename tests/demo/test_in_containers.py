"""`make demo RUNTIME=container`: an image made here out of Debian packages, and the same variants as with processes."""

import contextlib
import shutil

import pytest
import run
from variant_calling import comparison

from containers.engines import Daemon, why_not


def _missing() -> str:
    return why_not("docker") or ("" if shutil.which("debootstrap") else "debootstrap missing (make test-systems)")


@pytest.mark.system("docker")
@pytest.mark.skipif(bool(_missing()), reason=_missing())
@pytest.mark.timeout(900)
def test_the_same_variants_as_with_processes(tmp_path, capsys) -> None:
    daemon = Daemon("docker")
    with contextlib.ExitStack() as stack:
        stack.callback(daemon.remove)
        daemon.start()
        options = ["--seed", "21", "--no-reclaim"]
        assert run.main([*options, "--out", str(tmp_path / "in"), "--runtime", "container", "--socket", daemon.socket]) == 0, (
            capsys.readouterr()
        )
        assert not daemon.containers()
    assert run.main([*options, "--out", str(tmp_path / "as"), "--runtime", "process"]) == 0
    contained, plain = (_variants(tmp_path / where / "latest") for where in ("in", "as"))
    assert contained == plain
    assert len(plain) >= 200


def _variants(out) -> list[str]:
    called = comparison.read_variants(next((out / "results").glob("*.vcf.gz")), next((out / "inputs").glob("**/*.fa")))
    return [str(variant) for variant in sorted(called)]

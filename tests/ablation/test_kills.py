"""A process that is killed in any of its writes: the same command goes on to the same end."""

import json

import pytest

from hqnn_jax.ablation import run
from hqnn_jax.ablation.cells import CellStore, chunks_of
from hqnn_jax.ablation.file import load_ablation
from hqnn_jax.ablation.plan import Plan
from hqnn_jax.ablation.report import describe
from hqnn_jax.ablation.run import run_ablation
from hqnn_jax.ablation.work import Finished, Worker
from hqnn_jax.files import write_json
from tests.ablation.studies import QUIET, probabilities, small_study
from tests.kills import Killer, leftovers

TINY = small_study((32, 16, 24), epochs=1, layers=1)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.yaml"
    path.write_text(TINY)
    return Plan.of("tiny", load_ablation(path, []))


@pytest.fixture(scope="module")
def whole(plan, tmp_path_factory):
    """The folder of an ablation that was never stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HQNN_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "kills_cache"))
        patch.setattr(run, "write_reports", short_report)
        run_ablation(plan, out, QUIET, together=1)
    return out


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "kills_cache"))


def short_report(results, folder):
    """Files in the place of tables and figures."""
    for name in ("study.json", "report.html"):
        write_json(folder / name, describe(results))


@pytest.fixture
def cells_for_training(whole, monkeypatch):
    """Put the cells that training gave in its place; all files but the figures are written."""
    finished = CellStore(whole)

    def perform(self, work):
        chunks = work.claim.chunks if work.claim.decided else chunks_of(*work.claim.chunks, 1)
        for chunk in chunks:
            cells = [
                (arm, seed, finished.path(arm, seed).read_bytes())
                for arm in work.arms
                for seed in chunk
            ]
            yield Finished(tuple(cells), 1)

    monkeypatch.setattr(Worker, "perform", perform)
    monkeypatch.setattr(run, "write_reports", short_report)


@pytest.mark.parametrize("step", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_an_ablation_killed_at_any_write_goes_on(plan, whole, cells_for_training, tmp_path, step):
    killer = Killer()
    with killer.killing(tmp_path / "counted", 0):
        run_ablation(plan, tmp_path / "counted", QUIET)
    # The manifest, what was asked for, four cells and two reports, each beside its lock.
    count = killer.count
    assert count > 40
    for at in range(1, count + 1, step):
        out = tmp_path / str(at)
        killer.kill(out, at, lambda out=out: run_ablation(plan, out, QUIET))
        run_ablation(plan, out, QUIET)
        assert leftovers(out) == []
        assert probabilities(out) == probabilities(whole)
        studies = [json.loads((folder / "study.json").read_text()) for folder in (out, whole)]
        assert studies[0] == studies[1]


@pytest.mark.slow
def test_a_real_ablation_killed_at_any_write_goes_on(plan, tmp_path):
    killer, whole = Killer(), tmp_path / "whole"
    with killer.killing(whole, 0):
        run_ablation(plan, whole, QUIET, together=1)
    for at in range(1, killer.count + 1, 5):
        out = tmp_path / str(at)
        killer.kill(out, at, lambda out=out: run_ablation(plan, out, QUIET, together=1))
        run_ablation(plan, out, QUIET, together=1)
        assert leftovers(out) == []
        assert probabilities(out) == probabilities(whole)
        assert {p.name for p in out.iterdir()} == {p.name for p in whole.iterdir()}

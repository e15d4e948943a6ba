"""A process that is killed in any of its writes: the same command goes on to the same end."""

import json

import numpy as np
import pytest

from hqnn_jax.ablation import run
from hqnn_jax.ablation.cells import Cell, CellStore, chunks_of
from hqnn_jax.ablation.file import load_ablation
from hqnn_jax.ablation.plan import Plan
from hqnn_jax.ablation.report import describe
from hqnn_jax.ablation.run import run_ablation
from hqnn_jax.ablation.work import Finished, Worker
from hqnn_jax.files import write_json
from hqnn_jax.progress import Progress
from tests.kills import killed_in_write, leftovers

QUIET = Progress(terminal=False)
TINY = """
dataset:
  name: synthetic_cells
  resolution: 16
  synthetic: {train_images: 32, validation_images: 16, test_images: 24}
model:
  backbone: {name: five_layer_cnn, image_size: 16, frozen: true}
  processor: {widths: []}
  circuit: {name: radhi2025, num_qubits: 2, num_layers: 1}
  feature_scaling: standardised_tanh
training: {epochs: 1, batch_size: 16}
seeds: 2
ablation:
  axes: {middle: [quantum, none]}
"""


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


def probabilities(out):
    return {path.name: Cell.read(path).probabilities.tobytes() for path in out.glob("cells/*.npz")}


def test_a_kill_in_any_write_of_an_ablation(plan, whole, tmp_path, monkeypatch):
    """Training is replaced by the cells it gave; all files but the figures are written."""
    finished = CellStore(whole)

    def perform(self, work):
        (seeds,) = work.claim.chunks if not work.claim.decided else ((),)
        for chunk in work.claim.chunks if work.claim.decided else chunks_of(seeds, 1):
            cells = [
                (arm, seed, finished.path(arm, seed).read_bytes())
                for arm in work.arms
                for seed in chunk
            ]
            yield Finished(tuple(cells), 1)

    monkeypatch.setattr(Worker, "perform", perform)
    monkeypatch.setattr(run, "write_reports", short_report)
    number = 1
    while killed_in_write(
        number,
        out := tmp_path / str(number),
        lambda out=out: run_ablation(plan, out, QUIET),
    ):
        assert leftovers(out)
        run_ablation(plan, out, QUIET)
        assert leftovers(out) == []
        assert probabilities(out) == probabilities(whole)
        studies = [json.loads((folder / "study.json").read_text()) for folder in (out, whole)]
        assert studies[0] == studies[1]
        number += 1
    # The manifest thrice or more, four cells, what was asked for, and the report.
    assert number > 10
    assert not (tmp_path / str(number) / ".lock").exists()


@pytest.mark.slow
def test_a_kill_in_any_write_of_a_real_ablation(plan, tmp_path):
    run_ablation(plan, tmp_path / "whole", QUIET, together=1)
    number = 1
    while killed_in_write(
        number,
        out := tmp_path / str(number),
        lambda out=out: run_ablation(plan, out, QUIET, together=1),
    ):
        run_ablation(plan, out, QUIET, together=1)
        assert leftovers(out) == []
        assert probabilities(out) == probabilities(tmp_path / "whole")
        files = {path.name for path in out.iterdir()}
        assert files == {path.name for path in (tmp_path / "whole").iterdir()}
        number += 1
    assert number > 15
    assert np.all([len(probabilities(tmp_path / str(n))) == 4 for n in range(1, number)])

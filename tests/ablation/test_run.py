"""An ablation from cells to report: resumed, shared by processes, and never stale."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import experiment
from hqnn_jax.ablation.cells import Cell, CellStore
from hqnn_jax.ablation.cluster import Resources
from hqnn_jax.ablation.run import RayRequest, assemble, run_ablation
from hqnn_jax.ablation.work import Worker
from hqnn_jax.errors import RunFolderError, TrainingError
from hqnn_jax.training.interrupt import Interrupted
from tests.ablation.studies import BASE, QUIET

ROOT = Path(experiment.__file__).parent


def test_an_ablation_is_computed_once_and_compared(plan, tmp_path, trained):
    out = tmp_path / "out"
    results = run_ablation(plan(), out, QUIET)
    assert trained == ["quantum: seeds 0–1", "none: seeds 0–1"]
    study = json.loads((out / "study.json").read_text())
    assert [arm["name"] for arm in study["arms"]] == ["quantum", "none"]
    quantum, none = results.arms
    store = CellStore(out)
    for arm, result in zip(plan().arms, (quantum, none), strict=True):
        for index, seed in enumerate((0, 1)):
            cell = store.read(arm, seed)
            accuracy = np.mean(cell.predicted == cell.labels)
            assert result.test["accuracy"][index] == pytest.approx(accuracy)
            np.testing.assert_array_equal(result.predicted[index], cell.predicted)
            np.testing.assert_allclose(cell.probabilities.sum(1), 1, rtol=1e-5)
    difference = np.subtract(none.test["accuracy"], quantum.test["accuracy"])
    np.testing.assert_allclose(results.comparisons["none"].differences, difference)
    assert results.reference == {"none": "quantum"}
    assert len(results.verdicts) == 2
    assert quantum.parameters["circuit"] == 4
    assert none.parameters["circuit"] == 0
    assert quantum.parameters["backbone"] == 0  # frozen: nothing of it is trained

    # Again: nothing is computed; one more seed and arm: only these.
    run_ablation(plan(), out, QUIET)
    assert len(trained) == 2
    run_ablation(plan("seeds=3", "middle=quantum,none,matched"), out, QUIET)
    assert trained[2:] == ["quantum: seed 2", "none: seed 2", "matched: seeds 0–2"]
    # A changed configuration has cells of its own.
    run_ablation(plan("training.weight_decay=0.3"), out, QUIET)
    assert trained[5:] == ["quantum: seeds 0–1", "none: seeds 0–1"]


def test_conditions_are_evaluated_on_one_trained_circuit(plan, tmp_path, trained):
    arguments = ("middle=quantum", "noise=0,0.3", "shots=exact,5", "evaluation.batch_size=7")
    results = run_ablation(plan(*arguments), tmp_path / "out", QUIET)
    assert len(trained) == 1
    by_label = {arm.label: arm for arm in results.arms}
    exact = by_label["quantum, noise 0, shots exact"]
    assert all(arm.history == exact.history for arm in results.arms)
    store, arms = CellStore(tmp_path / "out"), plan(*arguments).arms
    probabilities = [store.read(arm, 0).probabilities for arm in arms]
    for left in range(4):
        for right in range(left):
            assert np.abs(probabilities[left] - probabilities[right]).max() > 1e-3
    # Other shots for every batch, and for every seed.
    assert np.abs(store.read(arms[1], 0).probabilities - store.read(arms[1], 1).probabilities).any()


def test_a_growing_circuit_is_trained_alone(plan, tmp_path):
    growth = "model.circuit.growth={axis: layers, maximum: 3, patience: 1, min_improvement: 9}"
    last = "evaluation.checkpoint=last"  # of two layers and one more
    arguments = ("middle=quantum", "training.epochs=3", growth, last, "shots=exact,5")
    results = run_ablation(plan(*arguments), tmp_path / "out", QUIET)
    assert [arm.parameters["circuit"] for arm in results.arms] == [6, 6]
    assert results.arms[0].test != results.arms[1].test


def test_a_stopped_ablation_says_what_is_kept(plan, tmp_path, monkeypatch, trained):
    calls = []

    def stops_in_the_second_work(self, work):
        calls.append(work)
        if len(calls) == 2:
            raise Interrupted("stopped while training")
        return perform(self, work)

    perform = Worker.perform
    monkeypatch.setattr(Worker, "perform", stops_in_the_second_work)
    with pytest.raises(Interrupted, match="2 of 4 cells are kept; the same command goes on"):
        run_ablation(plan(), tmp_path / "out", QUIET)
    monkeypatch.setattr(Worker, "perform", perform)
    trained.clear()
    run_ablation(plan(), tmp_path / "out", QUIET)
    assert trained == ["none: seeds 0–1"]


def test_an_arm_that_diverges_does_not_keep_the_others(plan, tmp_path):
    arguments = ("middle=quantum", "training.learning_rate.classical=1e30,1e-3")
    with pytest.raises(TrainingError, match=r"no report.*1e\+30.*not finite.*are kept"):
        run_ablation(plan(*arguments), tmp_path / "out", QUIET)
    diverged, fine = plan(*arguments).arms
    store = CellStore(tmp_path / "out")
    assert store.missing([diverged], 0)
    assert not store.missing([fine], 0)
    assert not (tmp_path / "out" / "report.html").exists()


def test_folders_of_something_else_are_refused(plan, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(RunFolderError, match="holds no ablation"):
        run_ablation(plan(), other, QUIET)
    old = tmp_path / "old"
    old.mkdir()
    (old / "ablation.json").write_text('{"format": 0, "hqnn_jax": "0.0.1"}')
    with pytest.raises(RunFolderError, match=r"holds an ablation of hqnn_jax 0\.0\.1"):
        run_ablation(plan(), old, QUIET)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot create the folder"):
        run_ablation(plan(), tmp_path / "file", QUIET)


def test_a_damaged_cell_is_named(plan, tmp_path):
    out = tmp_path / "out"
    run_ablation(plan(), out, QUIET)
    store, arm = CellStore(out), plan().arms[1]
    store.path(arm, 1).write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(RunFolderError, match=r"damaged cell.*delete the file"):
        assemble(plan(), store)
    store.path(arm, 1).unlink()
    run_ablation(plan(), out, QUIET)
    (out / "ablation.json").write_text("[")
    with pytest.raises(RunFolderError, match=r"ablation\.json: cannot be read.*--out"):
        run_ablation(plan(), out, QUIET)


def test_cells_of_other_images_are_not_compared(plan, tmp_path):
    out = tmp_path / "out"
    run_ablation(plan(), out, QUIET)
    store, arm = CellStore(out), plan().arms[1]
    cell = store.read(arm, 0)
    dataset = {**cell.record["dataset"], "fingerprint": "other"}
    changed = Cell({**cell.record, "dataset": dataset}, cell.probabilities, cell.labels)
    store.write(arm, 0, changed.to_bytes())
    with pytest.raises(RunFolderError, match="computed on different images"):
        assemble(plan(), store)


def start(file, out, cache):
    return subprocess.Popen(
        [sys.executable, "-m", "experiment", "ablate", file, "--out", out],
        cwd=ROOT,
        env={**os.environ, "HQNN_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_ablation_goes_on_beside_another_process(file, tmp_path):
    """Killed with its first cells written; two processes then share the rest."""
    file.write_text(BASE.replace("[quantum, none]", "[quantum, none, matched, linear]"))
    out = tmp_path / "out"
    first = start(file, out, tmp_path / "cache")
    while not list(out.glob("cells/*.npz")) and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("cells/*.npz")}
    assert 0 < len(kept) < 8
    assert not (out / "report.html").exists()

    both = [start(file, out, tmp_path / "cache") for _ in range(2)]
    texts = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    cells = {path: path.stat().st_mtime_ns for path in out.glob("cells/*.npz")}
    assert len(cells) == 8
    assert {path: cells[path] for path in kept} == kept
    # No arm is trained by both processes for the same seeds.
    started = [
        line.partition("] ")[2] for _, err in texts for line in err.splitlines() if "] " in line
    ]
    assert len(started) == len(set(started))
    assert (out / "report.html").exists()


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_cells(plan, tmp_path):
    pytest.importorskip("ray")
    arguments = ("middle=quantum",)
    here = run_ablation(plan(*arguments), tmp_path / "here", QUIET)
    request = RayRequest("local", Resources(num_cpus=1))
    there = run_ablation(plan(*arguments), tmp_path / "there", QUIET, together=1, ray=request)
    for left, right in zip(here.arms, there.arms, strict=True):
        np.testing.assert_array_equal(left.predicted, right.predicted)
        assert left.test["accuracy"] == right.test["accuracy"]
    assert here.verdicts == there.verdicts
    stores = [CellStore(tmp_path / name) for name in ("here", "there")]
    for arm in plan(*arguments).arms:
        own, other = (store.read(arm, 1).probabilities for store in stores)
        np.testing.assert_allclose(own, other, atol=1e-5)

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
from hqnn_jax.ablation.cells import Cell, CellStore, Claim
from hqnn_jax.ablation.cluster import Resources
from hqnn_jax.ablation.file import load_ablation
from hqnn_jax.ablation.plan import Plan
from hqnn_jax.ablation.run import RayRequest, assemble, run_ablation
from hqnn_jax.ablation.work import CellWork, Worker
from hqnn_jax.errors import RunFolderError, TrainingError
from hqnn_jax.progress import Progress
from hqnn_jax.training.interrupt import Interrupted

ROOT = Path(experiment.__file__).parent
QUIET = Progress(terminal=False)
BASE = """
dataset:
  name: synthetic_cells
  resolution: 16
  synthetic: {train_images: 64, validation_images: 32, test_images: 40}
model:
  backbone: {name: five_layer_cnn, image_size: 16, frozen: true}
  processor: {widths: []}
  circuit: {name: radhi2025, num_qubits: 2, num_layers: 2}
  feature_scaling: standardised_tanh
training: {epochs: 2, batch_size: 16}
seeds: 2
ablation:
  axes: {middle: [quantum, none]}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "ablation_cache"))
    monkeypatch.delenv("HQNN_DATA_DIR", raising=False)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(BASE)
    return path


@pytest.fixture
def plan(file):
    return lambda *arguments: Plan.of("tiny", load_ablation(file, arguments))


@pytest.fixture
def trained(monkeypatch):
    """The names of all work performed in this process."""
    performed = []
    perform = Worker.perform

    def counting(self, work):
        performed.append(str(work))
        return perform(self, work)

    monkeypatch.setattr(Worker, "perform", counting)
    return performed


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


def work_of(arms, seeds=(0, 1, 2), *, chunks=None):
    """All seeds, in one chunk that is to be divided or in chunks that are decided."""
    return CellWork(arms, Claim(seeds, chunks or (seeds,), decided=chunks is not None))


def test_chunks_give_the_same_cells(plan, tmp_path):
    arms = plan("seeds=3", "middle=quantum").arms
    whole, parts = ({}, {})
    for cells, together in ((whole, None), (parts, 2)):
        worker = Worker(QUIET, lambda: False, together=together, scratch=lambda *_: tmp_path)
        chunks = list(worker.perform(work_of(arms)))
        assert [chunk.size for chunk in chunks] == [3] if together is None else [2, 2]
        for chunk in chunks:
            for _, seed, content in chunk.cells:
                path = tmp_path / "cell.npz"
                path.write_bytes(content)
                cells[seed] = Cell.read(path)
    for seed, cell in whole.items():
        np.testing.assert_allclose(cell.probabilities, parts[seed].probabilities, atol=1e-5)
        assert cell.record["test"] == pytest.approx(parts[seed].record["test"], abs=1e-5)


def test_little_memory_makes_smaller_chunks_but_only_where_nothing_is_decided(
    plan, tmp_path, monkeypatch
):
    monkeypatch.setattr("hqnn_jax.ablation.work.available_memory", lambda **_: 1)
    worker = Worker(QUIET, lambda: False, scratch=lambda *_: tmp_path)
    arms = plan("middle=none").arms
    chunks = list(worker.perform(work_of(arms)))
    assert [[seed for _, seed, _ in chunk.cells] for chunk in chunks] == [[0], [1], [2]]
    assert {chunk.size for chunk in chunks} == {1}
    with pytest.raises(TrainingError, match="2 seeds in one program, as the study was begun") as e:
        list(worker.perform(work_of(arms, chunks=((0, 1), (2,)))))
    assert "\n" not in str(e.value)


def contents(out):
    return {path.name: path.read_bytes() for path in out.glob("cells/*.npz")}


def probabilities(out):
    return {path.name: Cell.read(path).probabilities.tobytes() for path in out.glob("cells/*.npz")}


@pytest.mark.parametrize("lost", [(0,), (3,), (0, 1, 4)])
def test_a_lost_cell_is_computed_again_bit_for_bit(plan, tmp_path, lost, trained):
    """Whatever is missing, each seed is trained in a program of the same seeds."""
    study, out = plan("seeds=5", "middle=none", "evaluation.batch_size=7"), tmp_path / "out"
    run_ablation(study, out, QUIET, together=2)
    before, complete = contents(out), probabilities(out)
    assert len(complete) == 5
    sizes = {n: Cell.read(out / "cells" / n).record["time"]["seeds_together"] for n in complete}
    assert sorted(sizes.values()) == [1, 2, 2, 2, 2]
    for seed in lost:
        (path,) = out.glob(f"cells/*_{seed}.npz")
        path.unlink()
    trained.clear()
    run_ablation(study, out, QUIET)
    assert len(trained) == 1
    assert probabilities(out) == complete
    kept = [name for name in before if int(name.split("_")[1][0]) not in lost]
    assert {name: contents(out)[name] for name in kept} == {name: before[name] for name in kept}


def test_the_number_of_seeds_in_one_program_belongs_to_the_study(plan, tmp_path, monkeypatch):
    study, out = plan("seeds=3", "middle=none"), tmp_path / "out"
    run_ablation(study, out, QUIET, together=2)
    manifest = (out / "ablation.json").read_text()
    (key,) = {arm.training_key for arm in study.arms}
    assert json.loads(manifest)["together"] == 2
    assert json.loads(manifest)["programs"] == {key: 2}
    for other in (1, 3):
        with pytest.raises(RunFolderError, match=f"was begun with 2 seeds.*not {other}") as error:
            run_ablation(study, out, QUIET, together=other)
        assert "\n" not in str(error.value)
    for same in (None, 2):
        run_ablation(study, out, QUIET, together=same)
    assert (out / "ablation.json").read_text() == manifest
    # Less memory is no reason for another number, and told where it is not enough.
    (lost,) = out.glob("cells/*_0.npz")
    lost.unlink()
    monkeypatch.setattr("hqnn_jax.ablation.work.available_memory", lambda **_: 1)
    with pytest.raises(TrainingError, match="2 seeds in one program, as the study was begun with"):
        run_ablation(study, out, QUIET)
    assert not lost.exists()


def test_what_memory_allowed_is_kept(plan, tmp_path, monkeypatch):
    study, out = plan("seeds=3", "middle=none"), tmp_path / "out"
    fits = "hqnn_jax.ablation.work._fitting"
    with monkeypatch.context() as little:
        little.setattr(fits, lambda program, count: 2)
        run_ablation(study, out, QUIET)
    complete = probabilities(out)
    with pytest.raises(RunFolderError, match="as many seeds as fit into memory"):
        run_ablation(study, out, QUIET, together=3)
    next(out.glob("cells/*_1.npz")).unlink()
    monkeypatch.setattr(fits, lambda program, count: pytest.fail("decided before"))
    run_ablation(study, out, QUIET)
    assert probabilities(out) == complete


def test_a_folder_without_a_number_goes_on_with_that_of_its_cells(plan, tmp_path):
    """As versions before left them."""
    study, out = plan("seeds=4", "middle=none"), tmp_path / "out"
    run_ablation(study, out, QUIET, together=2)
    complete = probabilities(out)
    manifest = json.loads((out / "ablation.json").read_text())
    old = {name: manifest[name] for name in ("format", "hqnn_jax")}
    (out / "ablation.json").write_text(json.dumps(old))
    next(out.glob("cells/*_2.npz")).unlink()
    with pytest.raises(RunFolderError, match="was begun with 2 seeds in one program, not 4"):
        run_ablation(study, out, QUIET, together=4)
    run_ablation(study, out, QUIET)
    assert probabilities(out) == complete


def test_a_folder_without_cells_takes_another_number(plan, tmp_path):
    store, arms = CellStore(tmp_path / "out"), plan().arms
    store.prepare()
    assert store.fix_together(None, [arms], (0, 1)) is None
    assert store.fix_together(3, [arms], (0, 1)) == 3
    assert store.size(arms) is None


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


def test_a_claim_is_exclusive_and_ends_with_its_process(plan, tmp_path):
    store = CellStore(tmp_path / "out")
    store.prepare()
    arms = plan().arms[:1]
    other = CellStore(tmp_path / "out")
    with store.claim(arms, (0, 1)) as first:
        assert first == Claim((0, 1), ((0, 1),), decided=False)
        with other.claim(arms, (2, 3)) as second:
            assert second.seeds == ()  # one process decides how many are trained together
    store.fix_size(arms, 1)
    with store.claim(arms, (0, 1)) as first:
        assert first == Claim((0, 1), ((0,), (1,)))
        with other.claim(arms, (0, 1, 2)) as second:
            assert second == Claim((2,), ((2,),))
    with store.claim(arms, (0, 1)) as again:
        assert again.seeds == (0, 1)
    store.write(arms[0], 0, b"anything")
    with store.claim(arms, (0, 1)) as rest:
        assert rest == Claim((1,), ((1,),))


def test_a_program_is_claimed_as_a_whole(plan, tmp_path):
    store, other = (CellStore(tmp_path / "out") for _ in range(2))
    store.prepare()
    arms = plan().arms[:1]
    store.fix_size(arms, 2)
    store.write(arms[0], 1, b"anything")
    with store.claim(arms, (0, 1, 2)) as first:
        assert first == Claim((0, 2), ((0, 1), (2,)))
        with other.claim(arms, (1, 2, 3, 4)) as second:
            assert second == Claim((3, 4), ((3, 4),))


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

"""Seeds trained together in one program: as many as memory allows, and always the same ones."""

import json

import numpy as np
import pytest

from hqnn_jax.ablation.cells import Cell, Claim
from hqnn_jax.ablation.run import run_ablation
from hqnn_jax.ablation.work import CellWork, Worker
from hqnn_jax.errors import RunFolderError, TrainingError
from tests.ablation.studies import QUIET, contents, probabilities


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

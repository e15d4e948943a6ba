"""`run`: what it leaves, and what it refuses."""

import json
import re
import shutil

import numpy as np
import pytest

from tests.cli.calls import assert_one_error, assert_same_predictions, predictions

SPLIT_KEYS = {"accuracy", "macro_f1", "weighted_f1", "cohen_kappa", "roc_auc", "per_class"}


def test_a_run_leaves_everything_it_promises(finished):
    run, done = finished
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.yaml", "metrics.json", "history.jsonl", "predictions.npz", "environment.json",
        "report.html", "checkpoints", "explanations.npz", "splits.json", "model",
    }  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text())
    for split in ("train", "validation", "test"):
        assert metrics[split].keys() >= SPLIT_KEYS
        per_seed = [seed[split]["accuracy"] for seed in metrics["seeds"]]
        assert metrics[split]["accuracy"] == pytest.approx(np.mean(per_seed))
    assert [seed["seed"] for seed in metrics["seeds"]] == [0, 1]
    assert metrics["parameters"].keys() == {"backbone", "circuit", "classical", "total"}
    assert metrics["parameters"]["circuit"] == 8
    assert metrics["time"].keys() == {"compile_s", "train_s", "epoch_s"}
    assert metrics["dataset"]["synthetic"] is True
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [(r["seed"], r["epoch"]) for r in history] == [(s, e) for s in (0, 1) for e in (1, 2, 3)]
    environment = json.loads((run / "environment.json").read_text())
    assert environment["versions"]["jax"]
    assert environment["device_platform"]
    report = (run / "report.html").read_text()
    assert "ynthetic" in report
    assert "test" in done.stdout
    assert str(run / "report.html") in done.stdout


def test_metrics_are_those_of_the_best_checkpoint_and_its_predictions(finished):
    run, _ = finished
    metrics = json.loads((run / "metrics.json").read_text())
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    stored = predictions(run)
    for index, seed in enumerate(metrics["seeds"]):
        records = [r for r in history if r["seed"] == seed["seed"]]
        best = max(records, key=lambda r: (r["validation_accuracy"], -r["validation_loss"]))
        assert seed["best_epoch"] == best["epoch"]
        assert seed["validation"]["accuracy"] == pytest.approx(best["validation_accuracy"])
        right = stored["test_probabilities"][index].argmax(-1) == stored["test_labels"]
        assert seed["test"]["accuracy"] == pytest.approx(right.mean())


def test_the_seeds_differ_and_are_those_of_separate_runs(finished, command, small, tmp_path):
    run, _ = finished
    stored = predictions(run)
    assert np.any(stored["test_probabilities"][0] != stored["test_probabilities"][1])
    code, _, err = command("run", small, "seed=1", "--out", tmp_path / "second")
    assert code == 0, err
    alone = predictions(tmp_path / "second")
    np.testing.assert_array_equal(alone["test_probabilities"][0], stored["test_probabilities"][1])


def test_plain_lines_without_a_terminal(finished):
    _, done = finished
    assert "\x1b" not in done.stderr
    assert re.search(r"seed 0 epoch 1/3: train loss \d", done.stderr)
    assert "parameters: backbone" in done.stderr
    assert "compiling" in done.stderr


def test_the_stored_configuration_repeats_the_run(finished, command, tmp_path):
    run, _ = finished
    code, _, err = command("run", run / "config.yaml", "--out", tmp_path / "again")
    assert code == 0, err
    assert_same_predictions(run, tmp_path / "again")
    assert (tmp_path / "again" / "config.yaml").read_text() == (run / "config.yaml").read_text()


def test_a_finished_run_is_not_overwritten(finished, command, small):
    run, _ = finished
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for extra in ([], ["--resume"]):
        result = command("run", small, "--out", run, *extra)
        assert_one_error(result, 1, str(run), "finished run", "--out")
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_run_that_lacks_its_report_gets_it(finished, command, small, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    (run / "report.html").unlink()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = ("run", run / "config.yaml", "--out", run)
    assert_one_error(command(*again), 1, "finished run", "report, which is missing", "--resume")
    result = command(*again, "training.epochs=9", "--resume")
    assert_one_error(result, 1, "training.epochs is 3 there, 9 here")
    code, _, err = command(*again, "--resume")
    assert code == 0, err
    assert "report.html" in {path.name for path in run.iterdir()}
    after = {path: path.read_bytes() for path in before}
    assert after == before


def test_resuming_with_another_configuration_is_refused(command, small, tmp_path):
    out = tmp_path / "run"
    code, _, err = command("run", small, "training.epochs=1", "--out", out)
    assert code == 0, err
    (out / "metrics.json").unlink()  # as if it had been stopped before the evaluation
    result = command("run", small, "training.batch_size=8", "--out", out, "--resume")
    assert_one_error(result, 1, "another configuration", "training.epochs is 1 there", "--out")
    result = command("run", small, "training.epochs=1", "seeds=2", "--out", out, "--resume")
    assert_one_error(result, 1, "seeds is 1 there, 2 here")


def test_frozen_backbone_is_run_once(command, small, tmp_path):
    overrides = ["model.backbone.frozen=true", "training.augmentation={}"]
    code, _, first = command("run", small, *overrides, "--out", tmp_path / "a")
    assert code == 0, first
    assert "compiling the backbone" in first
    code, _, second = command("run", small, *overrides, "--out", tmp_path / "b")
    assert code == 0, second
    assert "compiling the backbone" not in second
    assert second.count("read from the cache") == 3
    assert_same_predictions(tmp_path / "a", tmp_path / "b")
    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert metrics["parameters"]["backbone"] > 0


def test_non_finite_loss_fails_the_run(command, small, tmp_path):
    result = command("run", small, "training.learning_rate.classical=1e38", "--out", tmp_path / "r")
    assert_one_error(result, 1, "not finite", "learning_rate")
    assert not (tmp_path / "r" / "metrics.json").exists()

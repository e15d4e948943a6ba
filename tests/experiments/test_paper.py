"""Every paper's small variant, as a user runs it, and what happens when something is missing."""

import json
import sys

import pytest

import experiment
from experiments import paper as papers
from hqnn_jax.config import PAPER_NAMES


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HQNN_DATA_DIR", raising=False)

    def command(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["experiment", *map(str, arguments)])
        try:
            code = experiment.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.mark.parametrize("name", PAPER_NAMES)
def test_the_small_variant_gives_a_labelled_report_and_is_not_run_twice(name, command, tmp_path):
    out = tmp_path / name
    code, stdout, err = command("paper", name, "--small", "--out", out)
    assert code == 0, err
    report = out / "report.html"
    assert stdout.strip() == f"report: {report}"
    page = report.read_text()
    assert papers.paper_module(name).TITLE.split(":")[0][:40] in page
    assert "Synthetic data." in page
    results = json.loads((out / "results.json").read_text())
    assert results
    before = {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}
    code, _, err = command("paper", name, "--small", "--out", out)
    assert code == 0, err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")} == before
    assert json.loads((out / "results.json").read_text()) == results


def test_a_finished_run_of_another_configuration_is_not_taken_for_this_one(command, tmp_path):
    arguments = ("paper", "hqcnn2025", "--small", "--out", tmp_path / "out")
    code, _, err = command(*arguments)
    assert code == 0, err
    code, _, err = command(*arguments, "training.learning_rate.circuit=0.5")
    assert code == 1
    assert "training.learning_rate.circuit is 0.001 there, 0.5 here" in err


def test_an_unknown_paper_is_one_line(command):
    code, _, err = command("paper", "radhi2024")
    assert code == 2
    assert "expected one of: radhi2025" in err


def test_an_arm_without_its_images_is_left_out_and_named(command, tmp_path, shared_data):
    empty = tmp_path / "data"
    empty.mkdir()
    (empty / "bloodmnist.npz").symlink_to(shared_data / "bloodmnist.npz")
    (empty / "organamnist.npz").write_bytes(b"damaged")
    (empty / "pathmnist.npz").write_bytes(b"damaged")
    out = tmp_path / "out"
    quick = ("training.epochs=1", "seeds=1", "training.batch_size=2048")
    code, _, err = command(
        "paper", "hqcnn2025", f"dataset.data_dir={empty}", *quick, "--out", out,
        "evaluation.test_time_augmentation=none", "evaluation.bootstrap_samples=100",
        "evaluation.explained_images=0",
    )  # fmt: skip
    assert code == 1, err
    assert "organamnist.npz: damaged" in err
    assert "OrganAMNIST" in (out / "report.html").read_text()
    results = json.loads((out / "results.json").read_text())
    assert len(results["arms"]) == 4
    assert len(results["failed"]) == 8

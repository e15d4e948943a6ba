"""The command line as a user meets it: runs, reports, resuming, and every kind of bad input."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import experiment
from hqnn_jax.files import locked
from hqnn_jax.runs.folder import usable_cores

ROOT = Path(experiment.__file__).parent
SMALL = """
dataset:
  name: synthetic_cells
  resolution: 28
  synthetic: {train_images: 96, validation_images: 24, test_images: 40}
model:
  backbone: {name: five_layer_cnn, image_size: 16}
  processor: {widths: [8], dropout: 0.2}
  circuit: {name: radhi2025, num_qubits: 4, num_layers: 2}
training:
  epochs: 3
  batch_size: 16
  average_decay: 0.9
  augmentation: {horizontal_flip: true, rotation_degrees: 20.0, brightness: 0.1}
evaluation: {bootstrap_samples: 100, explained_images: 0}
"""
SPLIT_KEYS = {"accuracy", "macro_f1", "weighted_f1", "cohen_kappa", "roc_auc", "per_class"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HQNN_DATA_DIR", raising=False)


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def command(monkeypatch, capsys):
    """Return `command(*arguments) -> (exit code, standard output, standard error)`."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["experiment", *map(str, arguments)])
        try:
            code = experiment.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two seeds that no test changes, and its standard output and error."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.yaml").write_text(SMALL)
    done = subprocess.run(
        [
            *PYTHON,
            "run",
            folder / "small.yaml",
            "seeds=2",
            "evaluation.explained_images=2",
            "--out",
            folder / "run",
        ],
        cwd=ROOT,
        env={**os.environ, "HQNN_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "run", done


PYTHON = (sys.executable, "-m", "experiment")


def predictions(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "predictions.npz") as file:
        return dict(file)


def assert_same_predictions(left: Path, right: Path) -> None:
    left, right = predictions(left), predictions(right)
    assert left.keys() == right.keys()
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name], err_msg=name)


def assert_one_error(result, code, *texts):
    got, _, err = result
    assert got == code, err
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for text in texts:
        assert text in lines[0]


def test_a_run_leaves_everything_it_promises(finished):
    run, done = finished
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.yaml", "metrics.json", "history.jsonl", "predictions.npz", "environment.json",
        "report.html", "checkpoints", "explanations.npz", "splits.json",
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


def test_evaluate_and_report_reproduce_what_is_there(finished, command, tmp_path):
    run, _ = finished
    before = json.loads((run / "metrics.json").read_text())
    arrays = predictions(run)
    (run / "report.html").unlink()
    code, out, _ = command("report", run)
    assert code == 0
    assert (run / "report.html").exists()
    assert "report.html" in out
    code, _, err = command("evaluate", run)
    assert code == 0, err
    assert json.loads((run / "metrics.json").read_text()) == before
    for name, values in predictions(run).items():
        np.testing.assert_array_equal(values, arrays[name])
    page = tmp_path / "comparison.html"
    code, _, _ = command("report", run, run, "--out", page)
    assert code == 0
    assert page.read_text().count("synthetic_cells") >= 2


def start(small, out, tmp_path, *arguments):
    return subprocess.Popen(
        [*PYTHON, "run", small, "--out", out, *arguments],
        cwd=ROOT,
        env={**os.environ, "HQNN_CACHE_DIR": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_epochs(process, out, count):
    deadline = time.monotonic() + 300
    history = out / "history.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        if history.exists() and len(history.read_text().splitlines()) >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"no epoch {count}: {process.communicate()}")


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGKILL, id="kill"),
        pytest.param(signal.SIGINT, id="ctrl-c", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_resumes_to_the_same_result(how, command, small, tmp_path):
    small.write_text(SMALL.replace("epochs: 3", "epochs: 40"))
    out = tmp_path / "stopped"
    process = start(small, out, tmp_path)
    wait_for_epochs(process, out, 2)
    process.send_signal(how)
    _, err = process.communicate(timeout=120)
    assert not (out / "metrics.json").exists(), "stopped too late for this test"
    if how == signal.SIGINT:
        assert process.returncode == 1
        resume = re.search(r"python -m experiment (run .*--resume)", err)
        assert resume is not None, err
        arguments = resume[1].rstrip("`").split()
    else:
        arguments = ["run", str(out / "config.yaml"), "--out", str(out), "--resume"]
        result = command("run", small, "--out", out)
        assert_one_error(result, 1, "unfinished run", "--resume")
    code, _, err = command(*arguments)
    assert code == 0, err
    code, _, err = command("run", small, "--out", tmp_path / "whole")
    assert code == 0, err
    assert_same_predictions(out, tmp_path / "whole")
    records = [json.loads(x)["epoch"] for x in (out / "history.jsonl").read_text().splitlines()]
    assert records == list(range(1, 41))


def test_two_runs_never_share_a_folder(command, small, tmp_path):
    small.write_text(SMALL.replace("epochs: 3", "epochs: 1000"))
    out = tmp_path / "run"
    process = start(small, out, tmp_path)
    try:
        wait_for_epochs(process, out, 1)
        before = sorted(path for path in out.rglob("*") if "checkpoints" not in str(path))
        for arguments in (
            ("run", small, "--out", out),
            ("run", small, "--out", out, "--resume"),
        ):
            result = command(*arguments)
            assert_one_error(result, 1, str(out), "another process is working in this folder")
        for name in ("evaluate", "report"):
            assert_one_error(command(name, out), 1, "metrics.json", "has not finished")
        assert sorted(p for p in out.rglob("*") if "checkpoints" not in str(p)) == before
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_evaluate_and_report_wait_for_nobody(finished, command):
    run, _ = finished
    with ThreadPoolExecutor(1) as pool, ExitStack() as held:
        pool.submit(held.enter_context, locked(run)).result()
        for name in ("evaluate", "report"):
            assert_one_error(command(name, run), 1, str(run), "another process is working")
        pool.submit(held.close).result()
    assert not (run / ".lock").exists()


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


def test_evaluate_repairs_what_it_makes(finished, command, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    for name in ("predictions.npz", "explanations.npz", "environment.json"):
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: len(content) // 2])
        assert_one_error(command("report", run), 1, name, "cannot be read", "experiment evaluate")
        code, _, err = command("evaluate", run)
        assert code == 0, err
    assert_same_predictions(run, finished[0])


def test_a_run_on_other_hardware_is_told_and_noted(finished, command, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    path = run / "environment.json"
    begun = json.loads(path.read_text())
    begun["usable_cores"] = 77
    begun["versions"]["jax"] = "0.0.1"
    path.write_text(json.dumps(begun))
    here = usable_cores()
    code, _, err = command("evaluate", run)
    assert code == 0, err
    assert f"usable_cores 77 there, {here} here" in err
    assert "versions.jax 0.0.1 there" in err
    (run / "metrics.json").unlink()
    code, _, err = command("run", run / "config.yaml", "--out", run, "--resume")
    assert code == 0, err
    assert f"usable_cores 77 there, {here} here" in err
    noted = json.loads(path.read_text())
    assert {key: noted[key] for key in begun} == begun
    assert [(entry["command"], entry["usable_cores"]) for entry in noted["later"]] == [
        ("evaluate", here),
        ("resume", here),
    ]
    assert "usable_cores" in (run / "report.html").read_text()


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


def test_list_names_what_there_is(command):
    code, out, _ = command("list")
    assert code == 0
    for name in ("quickstart", "bloodmnist", "synthetic_cells", "strongly_entangling", "compact"):
        assert name in out


@pytest.mark.parametrize("name", ["run", "evaluate", "report"])
def test_help_shows_real_examples(command, name):
    code, out, _ = command(name, "--help")
    assert code == 0
    assert f"python -m experiment {name}" in " ".join(out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["walk"],
        ["run", "configs/quickstart.yaml", "--fast"],
        ["run", "x.yaml", "--resume"],
    ],
)
def test_wrong_usage_exits_with_2(command, arguments):
    code, _, err = command(*arguments)
    assert code == 2
    assert err


def test_wrong_configuration_exits_with_2_and_writes_nothing(command, small, tmp_path):
    result = command("run", small, "training.epohcs=3", "--out", tmp_path / "r")
    assert_one_error(result, 2, "training.epohcs", "training.epochs")
    result = command("run", tmp_path / "absent.yaml")
    assert_one_error(result, 2, "absent.yaml")
    assert not (tmp_path / "r").exists()


def test_a_run_that_failed_before_training_does_not_block_its_folder(command, small, tmp_path):
    out = tmp_path / "run"
    result = command("run", small, "training.batch_size=97", "--out", out)
    assert_one_error(result, 2, "training.batch_size", "96 training images")
    code, _, err = command("run", small, "training.epochs=1", "--out", out)
    assert code == 0, err
    assert "epochs: 1\n" in (out / "config.yaml").read_text()


def test_a_model_that_cannot_be_built_is_refused_before_the_data_is_read(command, small, tmp_path):
    overrides = ["dataset.name=bloodmnist", f"dataset.data_dir={tmp_path / 'nowhere'}"]
    one = "model.circuit.num_layers=1"
    for extra, text in [
        (["model.middle=matched", "model.circuit.num_qubits=6", one], "within 10 %"),
        (["model.feature_selection=first", "model.processor.widths=[3]"], "at least 4"),
        (["model.circuit.name=nowhere:mine"], "cannot import"),
    ]:
        result = command("run", small, *overrides, *extra, "--out", tmp_path / "r")
        assert_one_error(result, 2, text)


def test_missing_data_is_one_line(command, small, tmp_path):
    overrides = ["dataset.name=bloodmnist", f"dataset.data_dir={tmp_path / 'nowhere'}"]
    result = command("run", small, *overrides, "--out", tmp_path / "r")
    assert_one_error(result, 1, "nowhere", "does not exist")


def test_missing_weights_are_one_line(command, small, tmp_path):
    backbone = (
        "model.backbone={name: efficientnet_b0, image_size: 32, normalisation: imagenet, "
        f"pretrained: {tmp_path / 'absent.safetensors'}}}"
    )
    result = command("run", small, backbone, "--out", tmp_path / "r")
    assert_one_error(result, 1, "absent.safetensors", "no such file")


def test_folders_that_hold_no_run(command, small, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("precious")
    assert_one_error(command("run", small, "--out", foreign), 1, "not empty")
    assert_one_error(command("report", foreign), 1, "foreign")
    assert_one_error(command("evaluate", tmp_path / "absent"), 1, "absent")
    assert_one_error(command("run", small, "--out", tmp_path / "n", "--resume"), 1, "no run")
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]
    own = tmp_path / "own"
    own.mkdir()
    (own / "config.yaml").write_text(SMALL)
    assert_one_error(command("run", own / "config.yaml", "--out", own), 1, "not empty")
    assert (own / "config.yaml").read_text() == SMALL


def test_output_below_a_file_is_one_line(command, small, tmp_path):
    (tmp_path / "file").write_text("")
    result = command("run", small, "--out", tmp_path / "file" / "run")
    assert_one_error(result, 1, "cannot create", "--out")


FULL_DISK = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.argv = ["experiment", *sys.argv[1:]]
runpy.run_module("experiment", run_name="__main__")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_full_disk_is_one_line_and_loses_nothing(small, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, "run", small, "--out", tmp_path / "run"],
        cwd=ROOT,
        env={**os.environ, "HQNN_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    # TensorStore's threads print on their own where a write fails half-way, even into our line.
    assert len(re.findall(r"error: .*cannot write", done.stderr)) == 1, done.stderr
    assert (tmp_path / "run" / "config.yaml").exists()
    assert not (tmp_path / "run" / "metrics.json").exists()


IMPATIENT = """
import runpy, sys, time
import hqnn_jax.runs.run

def train_seed(stages, seed, folder, stop):
    print("training", flush=True)
    while not stop():
        time.sleep(0.01)
    print("asked", flush=True)
    while True:
        time.sleep(0.01)

def load(config, progress):
    print("training", flush=True)
    print("asked", flush=True)
    while True:
        time.sleep(0.01)

hqnn_jax.runs.run._train_seed = train_seed
if sys.argv.pop(1) == "while loading":
    hqnn_jax.runs.run.load_setup = load
sys.argv = ["experiment", *sys.argv[1:]]
runpy.run_module("experiment", run_name="__main__")
"""
"""A run that never comes to a safe point; it prints `asked` when Ctrl-C stops it at once."""


@pytest.mark.parametrize("when", ["while loading", "while training"])
def test_a_ctrl_c_that_does_not_wait_says_what_is_kept(when, small, tmp_path):
    out = tmp_path / "stopped"
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, when, "run", small, "--out", out],
        cwd=ROOT,
        env={**os.environ, "HQNN_CACHE_DIR": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "training\n"
    if when == "while training":
        process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert_one_error((process.returncode, "", err), 1, "stopped at once", "is kept")
    assert f"`python -m experiment run {out / 'config.yaml'} --out {out} --resume`" in err


def test_a_configuration_that_is_no_file_or_no_text_is_one_line(command, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "binary.yaml", Path("/dev/null")):
        for arguments in (
            ["run", path],
            ["ablate", path, "qubits=2,3"],
            ["paper", "aml2026", "--config", path],
            ["hardware", tmp_path, "--config", path],
        ):
            assert_one_error(command(*arguments), 2, str(path))


def test_arguments_that_are_not_text_are_one_line(command, small, tmp_path):
    odd = "\udcff"
    assert_one_error(command("run", small, f"dataset.name={odd}"), 2, r"\udcff")
    assert_one_error(command("run", small, f"dataset.{odd}=1"), 2, r"\udcff")
    assert_one_error(command("run", small, "dataset.a\nb=1"), 2, r"dataset.a\nb")
    assert_one_error(command("ablate", small, f"qubits={odd},2"), 2, r"\udcff")
    assert_one_error(command("ablate", small, f"qu{odd}bits=3,2"), 2, r"\udcff")
    assert_one_error(command("run", small, "--out", tmp_path / odd), 2, r"\udcff", "UTF-8")
    assert_one_error(command("paper", odd), 2, r"\udcff")
    code, _, err = command(odd)
    assert (code, "Traceback" in err) == (2, False)


def test_a_set_that_does_not_fit_is_one_line(command, small, tmp_path):
    images = ["dataset.synthetic.test_images=2147483647", "dataset.resolution=512"]
    result = command("run", small, *images, "--out", tmp_path / "r")
    assert_one_error(result, 2, "dataset.synthetic", "GB are free")

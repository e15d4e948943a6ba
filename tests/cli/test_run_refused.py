"""`run`: what stops it before or in its folder is one line."""

import os
import re
import subprocess
import sys

import pytest

from tests.cli.calls import ROOT, SMALL, assert_one_error


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


def test_a_set_that_does_not_fit_is_one_line(command, small, tmp_path):
    images = ["dataset.synthetic.test_images=2147483647", "dataset.resolution=512"]
    result = command("run", small, *images, "--out", tmp_path / "r")
    assert_one_error(result, 2, "dataset.synthetic", "GB are free")

"""Runs that are stopped, or begun twice: nothing is lost, and what goes on is said."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.calls import PYTHON, ROOT, SMALL, assert_one_error, assert_same_predictions


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

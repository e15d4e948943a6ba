"""`evaluate` and `report`: finished runs again, repaired, elsewhere."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np

from hqnn_jax.files import locked
from hqnn_jax.runs.folder import usable_cores
from tests.cli.calls import assert_one_error, assert_same_predictions, predictions


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


def test_evaluate_and_report_wait_for_nobody(finished, command):
    run, _ = finished
    with ThreadPoolExecutor(1) as pool, ExitStack() as held:
        pool.submit(held.enter_context, locked(run)).result()
        for name in ("evaluate", "report"):
            assert_one_error(command(name, run), 1, str(run), "another process is working")
        pool.submit(held.close).result()
    assert not (run / ".lock").exists()


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

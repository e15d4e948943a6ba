"""Reading a finished run: whole, or one line that names the damaged file."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hqnn_jax.errors import ConfigurationError, RunFolderError
from hqnn_jax.files import write_arrays
from hqnn_jax.runs.finished import load_run
from hqnn_jax.runs.report import write_report

FILES = ("metrics.json", "history.jsonl", "environment.json", "config.yaml", "predictions.npz")


def flip(data, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    return bytes(changed)


def read_damaged(run, data, reader):
    """Flip bits of a file of the run and read it; the file is as it was afterwards."""
    path = run / data.draw(st.sampled_from(FILES))
    content = path.read_bytes()
    damaged = flip(data, content)
    path.write_bytes(damaged)
    try:
        reader(run)
    except (RunFolderError, ConfigurationError) as error:
        message = str(error)
    else:
        message = str(path)
    assert path.read_bytes() == damaged
    path.write_bytes(content)
    return path, message


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipped_bits_are_read_or_refused_in_one_line(make_run, data, tmp_path):
    run = tmp_path / "run"
    if not run.exists():
        make_run("run")
    path, message = read_damaged(run, data, load_run)
    assert "\n" not in message
    assert str(path) in message


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_what_is_read_can_be_shown(make_run, data, tmp_path):
    run = tmp_path / "run"
    if not run.exists():
        make_run("run")
    _, message = read_damaged(run, data, write_report)
    assert "\n" not in message


def set_in(metrics, place, value):
    *parents, last = place
    for key in parents:
        metrics = metrics[key]
    if value is None:
        del metrics[last]
    else:
        metrics[last] = value


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("test", "per_class", 1, "support"), None, "test.per_class.1: lacks support"),
        (("test", "per_class", 1, "class"), "other", "per_class: expected the classes"),
        (("test", "intervals", "accuracy"), None, "test.intervals: lacks accuracy"),
        (("test", "intervals", "accuracy"), [1], "test.intervals.accuracy: "),
        (("test", "accuracy"), "0.9", "test.accuracy: "),
        (("test", "accuracy"), float("nan"), "test.accuracy: "),
        (("test", "confusion_matrix", 0), [1], "expected a row and a column per class"),
        (("parameters", "total"), 10**400, "parameters.total: "),
        (("time", "epoch_s"), float("inf"), "time.epoch_s: "),
        (("seeds", 0, "test"), None, "seeds.0: lacks test"),
        (("dataset", "class_names"), [], "dataset.class_names: "),
        (("dataset", "shared_images", 0), 3, "dataset.shared_images.0: "),
        (("test", "standard_deviation"), None, "test: lacks standard_deviation"),
        (("cross_datasets",), [{}], "cross_datasets.0: lacks name, synthetic"),
    ],
)
def test_metrics_that_cannot_be_shown_are_told(make_run, place, value, reason):
    run = make_run("run")
    metrics = json.loads((run / "metrics.json").read_text())
    set_in(metrics, place, value)
    (run / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RunFolderError) as caught:
        load_run(run)
    assert str(caught.value).startswith(f"{run / 'metrics.json'}: {reason}"[:60])
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.pop("seeds"), "lacks seeds"),
        (lambda a: a.update(test_labels=a["test_labels"][1:]), "test_labels: expected int"),
        (lambda a: a["test_labels"].__setitem__(0, 3), "test_labels: expected numbers from 0 to 2"),
        (lambda a: a["train_probabilities"].fill(np.nan), "expected probabilities"),
        (lambda a: a["sample_indices"].fill(99), "sample_indices: expected numbers from 0 to 54"),
        (lambda a: a.update(sample_images=np.zeros((7, 2, 2))), "sample_images: expected uint8"),
    ],
)
def test_predictions_that_cannot_be_shown_are_told(make_run, change, reason):
    run = make_run("run")
    with np.load(run / "predictions.npz") as stored:
        arrays = dict(stored)
    change(arrays)
    write_arrays(run / "predictions.npz", arrays)
    with pytest.raises(RunFolderError) as caught:
        load_run(run)
    assert reason in str(caught.value)
    assert f"experiment evaluate {run}` writes it anew" in str(caught.value)


def test_explanations_have_one_number_of_images(make_run):
    run = make_run("run")
    arrays = {
        "images": np.zeros((2, 4, 4, 3), np.uint8),
        "indices": np.arange(2),
        "labels": np.zeros(2, int),
        "predicted": np.zeros(2, int),
        "cams": np.zeros((2, 2, 2), np.float32),
        "attributions": np.zeros((2, 4, 4), np.float32),
        "logit_differences": np.zeros(2, np.float32),
    }
    write_arrays(run / "explanations.npz", arrays)
    assert load_run(run).explanations is not None
    for change, reason in (
        ({"cams": np.zeros((1, 2, 2), np.float32)}, "cams: expected float"),
        ({"predicted": np.full(2, 3)}, "predicted: expected numbers from 0 to 2"),
    ):
        write_arrays(run / "explanations.npz", arrays | change)
        with pytest.raises(RunFolderError, match=reason):
            load_run(run)
    shutil.copy(run / "metrics.json", run / "explanations.npz")
    with pytest.raises(RunFolderError, match=r"explanations\.npz: cannot be read"):
        load_run(run)

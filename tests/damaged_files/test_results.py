"""Whatever a file of results has become, the command that reads it says so in one line."""

import shutil
from pathlib import Path

import pytest

from hqnn_jax.ablation import run as ablation_run
from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.config.loading import load_section
from hqnn_jax.experiments import hardware, paper
from hqnn_jax.progress import Progress
from hqnn_jax.runs import setup
from tests.damaged_files.scenes import (
    ABLATION,
    HARDWARE,
    SMALL,
    Scene,
    configuration,
    done,
    files,
    fuzz,
    light_figures,
    not_begun,
    tried,
)

AML = (
    "arms=[rbf_svm]", "sizes=[10]", "seeds=[1]", "num_components=2",
    "dataset.synthetic.train_images=100",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(place) -> Path:
    config = place / "small.yaml"
    config.write_text(SMALL)
    done("run", config, "--out", place / "run")
    return place / "run"


@pytest.fixture(scope="module")
def report(finished, place) -> Scene:
    folder = shutil.copytree(finished, place / "report" / "run")
    found = files(folder, "*.yaml", "*.json", "*.jsonl", "*.npz")
    return Scene(folder, found, ("report", folder), ("report.html",), light_figures())


@pytest.fixture(scope="module")
def evaluate(finished, place) -> Scene:
    folder = shutil.copytree(finished, place / "evaluate" / "run")
    found = files(folder, "*.yaml", "metrics.json", "history.jsonl", "checkpoints/**/*")
    written = ("report.html", "metrics.json", "predictions.npz")
    return Scene(folder, found, ("evaluate", folder), written, light_figures())


@pytest.fixture(scope="module")
def resume(finished, place) -> Scene:
    """A run that was stopped after its last checkpoint."""
    folder = shutil.copytree(finished, place / "resume" / "run")
    for name in ("metrics.json", "predictions.npz", "report.html"):
        (folder / name).unlink()
    found = files(folder, "*.yaml", "*.json", "*.jsonl", "checkpoints/**/*")
    written = ("environment.json", "splits.json", "history.jsonl")
    command = ("run", folder / "config.yaml", "--out", folder, "--resume")
    return Scene(folder, found, command, written, light_figures())


@pytest.fixture(scope="module")
def ablate(place) -> Scene:
    folder = place / "ablate"
    folder.mkdir()
    config = folder / "tiny.yaml"
    config.write_text(ABLATION)
    command = ("ablate", config, "--out", folder / "out")
    done(*command, stubs=light_figures())
    found = [config, *files(folder / "out", "*.json", "*.yaml", "cells/*.npz")]
    # With other seeds or arms, cells are missing.
    stubs = [*light_figures(), (ablation_run.Worker, "perform", not_begun)]
    written = ("study.json", "ablation.yaml", "ablation.json")
    return Scene(folder, found, command, written, stubs)


@pytest.fixture(scope="module")
def on_backend(finished, place) -> Scene:
    folder = place / "hardware"
    folder.mkdir()
    config = folder / "settings.yaml"
    config.write_text(HARDWARE)
    settings_ = load_section(config, [], HardwareConfig)
    models = hardware.load_models(finished, settings_, Progress(terminal=False))
    stubs = [*light_figures(), (hardware, "load_models", lambda *_: models)]
    command = ("hardware", finished, "--config", config, "--out", folder / "out")
    done(*command, stubs=stubs)
    found = [config, *files(folder / "out", "*.yaml", "models.json", "calibration.json", "*/*")]
    written = ("report.html", "out/hardware.json", "out/hardware.npz")
    return Scene(folder, found, (*command, "--resume"), written, stubs)


@pytest.fixture(scope="module")
def table(place) -> Scene:
    """The folder of aml2026, whose damaged cells are computed anew."""
    out = place / "table" / "out"
    command = ("paper", "aml2026", "--small", *AML, "--out", out)
    stubs = [(paper, "write_document", lambda path, document: path)]
    done(*command, stubs=stubs)
    cells = files(out, "cells/*")
    written = ("results.json", *(path.name for path in cells))
    return Scene(out.parent, cells, command, written, stubs)


@pytest.fixture(scope="module")
def cross(finished, place) -> Scene:
    path = place / "cross" / "cross.yaml"
    text = "dataset: {name: synthetic_cells}\nclass_map: {basophil: basophil}\n"
    command = ("evaluate", finished, "--cross", path)
    return configuration(path, text, *command, begins=(setup, "load_setup"))


@pytest.fixture(scope="module")
def backend_settings(finished, place) -> Scene:
    path = place / "settings" / "hardware.yaml"
    command = ("hardware", finished, "--config", path, "--dry-run")
    return configuration(path, HARDWARE, *command, begins=(hardware, "load_models"))


@pytest.mark.parametrize(
    ("name", "examples"),
    tried(
        {
            "report": 12,
            "ablate": 8,
            "on_backend": 12,
            "table": 4,
            "resume": 2,
            "evaluate": 2,
            "cross": 12,
            "backend_settings": 12,
        }
    ),
)
def test_a_damaged_file_is_one_line(request, name, examples):
    fuzz(request.getfixturevalue(name), examples)

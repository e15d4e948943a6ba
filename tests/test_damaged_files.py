"""Whatever a file has become, the command that reads it says so in one line.

Bytes are flipped, and files cut, emptied or replaced, one at a time. The command ends with exit
code 0, 1 or 2 and, if not 0, with one line of error; no file is touched but those it is to write.
"""

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from hqnn_jax.ablation import run as ablation_run
from hqnn_jax.ablation.report import describe
from hqnn_jax.backbones.efficientnet import EfficientNetB0
from hqnn_jax.backbones.pretrained import load_pretrained
from hqnn_jax.config import Config
from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.config.loading import load_section
from hqnn_jax.errors import HqnnError
from hqnn_jax.experiments import hardware, paper
from hqnn_jax.experiments.aml2026 import study as aml2026
from hqnn_jax.files import write_json
from hqnn_jax.progress import Progress
from hqnn_jax.reporting import style
from hqnn_jax.runs import run as runs_module
from hqnn_jax.runs.setup import check_model, load_setup
from tests.hardware_evaluation.conftest import call

SYNTHETIC = "  synthetic: {train_images: 32, validation_images: 16, test_images: 24}\n"
SMALL = (
    "dataset:\n  name: synthetic_cells\n  resolution: 16\n"
    + SYNTHETIC
    + """
model:
  backbone: {name: five_layer_cnn, image_size: 16, frozen: true}
  processor: {widths: []}
  circuit: {name: radhi2025, num_qubits: 2, num_layers: 1}
  feature_scaling: standardised_tanh
training: {epochs: 1, batch_size: 16}
evaluation: {bootstrap_samples: 100, explained_images: 0}
seeds: 2
"""
)
ABLATION = SMALL + "ablation:\n  axes: {middle: [quantum, none]}\n"
HARDWARE = "backend: aer\nshots: 16\ninterval_samples: 100\nimages: {count: 4}\n"
AML = (
    "arms=[rbf_svm]", "sizes=[10]", "seeds=[1]", "num_components=2",
    "dataset.synthetic.train_images=100",
)  # fmt: skip
CIRCUIT = """
import pennylane as qml

from hqnn_jax.circuits import Circuit


def circuit(num_qubits, num_layers):
    def function(features, weights):
        for wire in range(num_qubits):
            qml.RY(features[wire], wire)
            qml.RX(weights[wire], wire)
        return [qml.expval(qml.Z(wire)) for wire in range(num_qubits)]

    return Circuit.from_function(
        function, num_qubits=num_qubits, num_features=num_qubits, weights_shape=(num_qubits,)
    )
"""

TEXTS = (
    b"null", b"[]", b"{}", b"7", b'"text"', b"some text\n", b"a: 1\nb: [1, 2]\n", b"\x00" * 64,
    b"\xff\xfe\x00a", b'{"a": "\\ud800"}', b"[" * 3000, b"{" * 3000, b"&a [*a, *a]", b"PK\x03\x04",
    b"\x93NUMPY\x01\x00", b"\x89HDF\r\n\x1a\n", b"%!PS-Adobe-3.0\n", b"1e999",
    b"import sys\nsys.exit()", b"raise SystemExit(3)",
)  # fmt: skip


NOT_BEGUN = "all files were read"


@st.composite
def damages(draw) -> Callable[[bytes], bytes]:
    """A way to damage a file, for content of any length."""
    kind = draw(st.sampled_from(("flip", "flip", "cut", "drop", "replace")))
    share = st.floats(0, 1, exclude_max=True)
    if kind == "replace":
        text = draw(st.sampled_from((b"", *TEXTS)))
        return lambda content: text
    first, second = draw(share), draw(share)
    if kind == "cut":
        return lambda content: content[: int(first * len(content))]
    if kind == "drop":
        low, high = sorted((first, second))
        return lambda content: (
            content[: int(low * len(content))] + content[int(high * len(content)) :]
        )
    places = draw(st.lists(st.tuples(share, st.integers(1, 255)), min_size=1, max_size=3))

    def flip(content: bytes) -> bytes:
        changed = bytearray(content)
        for place, bits in places if changed else ():
            changed[int(place * len(changed))] ^= bits
        return bytes(changed)

    return flip


@dataclass
class Scene:
    """A folder with everything a command reads, and the command.

    Attributes:
        folder: what is damaged; `files`: which of it, in order.
        arguments: of the command line, or a function that is called in its place.
        written: what the command may write, as ends of paths.
        stubs: what is costly or must not begin: (object, name, replacement).
        ends: with what error, if any, it ends while nothing is damaged.
    """

    folder: Path
    files: list[Path]
    arguments: tuple[object, ...] | Callable[[], None]
    written: tuple[str, ...] = ()
    stubs: list[tuple[object, str, object]] = field(default_factory=list)
    ends: str = NOT_BEGUN

    def __post_init__(self):
        """Note the content of every file."""
        self.content = {
            path: path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()
        }
        assert self.files

    def restore(self) -> None:
        """Put everything back as it was."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_file() and path not in self.content:
                path.unlink()
        for path, content in self.content.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def run(self) -> tuple[int, str]:
        """Run the command; returns its exit code and what it printed to standard error."""
        with pytest.MonkeyPatch.context() as patch:
            for owner, name, replacement in self.stubs:
                patch.setattr(owner, name, replacement)
            if not callable(self.arguments):
                code, _, err = call(*self.arguments)
                return code, err
            try:
                self.arguments()
            except HqnnError as error:
                return error.exit_code, f"error: {error}"
            return 0, ""

    def check_undamaged(self) -> None:
        """Run the command with all files as they should be: it gets as far as is of interest."""
        code, err = self.run()
        last = err.strip().splitlines()[-1] if code else ""
        self.restore()
        assert not last or self.ends in last, err

    def check(self, path: Path, damage: Callable[[bytes], bytes]) -> None:
        """Damage one file, run the command and compare."""
        damaged = damage(self.content[path])
        if damaged == self.content[path]:
            return
        path.write_bytes(damaged)
        try:
            code, err = self.run()
            assert code in (0, 1, 2)
            assert "Traceback" not in err, err
            errors = [line for line in err.splitlines() if line.startswith("error: ")]
            assert len(errors) == (code != 0), err
            assert code == 0 or err.strip().splitlines()[-1] == errors[0], err
            for other, content in self.content.items():
                if not str(other).endswith(self.written):
                    expected = damaged if other == path else content
                    assert other.read_bytes() == expected, other
        finally:
            self.restore()


def not_begun(*_: object, **__: object) -> None:
    """Stands for work that would begin with files that can be read."""
    raise HqnnError(NOT_BEGUN)


def light_figures() -> list[tuple[object, str, object]]:
    """Leave out what is drawn."""
    return [
        (style, "data_uri", lambda *_, **__: ""),
        (ablation_run, "write_reports", lambda r, f: write_json(f / "study.json", describe(r))),
        (hardware, "write_hardware_report", lambda path, results, _: write_json(path, {})),
    ]


def files(folder: Path, *patterns: str) -> list[Path]:
    """Return the files that match, in order."""
    return sorted({p for pattern in patterns for p in folder.glob(pattern) if p.is_file()})


# --- folders of results --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """A folder for everything here, with a cache of its own."""
    folder = tmp_path_factory.mktemp("damaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HQNN_CACHE_DIR", str(folder / "cache"))
        patch.delenv("HQNN_DATA_DIR", raising=False)
        patch.syspath_prepend(str(folder / "modules"))
        yield folder


def done(*arguments: object, stubs: list | None = None) -> None:
    """Run a command that has to succeed."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, replacement in stubs or []:
            patch.setattr(owner, name, replacement)
        code, _, err = call(*arguments)
    assert code == 0, err


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


# --- configurations, and what they name -----------------------------------------------------------


def loading(config: Config, *_: object, **__: object) -> None:
    """Load the dataset and the backbone's features in the place of training."""
    load_setup(config, Progress(terminal=False))
    not_begun()


@pytest.fixture(scope="module")
def run_config(place) -> Scene:
    folder = place / "config"
    folder.mkdir()
    config = folder / "small.yaml"
    config.write_text(SMALL)

    def checked(config: Config, *_: object, **__: object) -> None:
        check_model(config.model)
        not_begun()

    return Scene(
        folder,
        [config],
        ("run", config, "--out", folder / "out"),
        (),
        [(runs_module, "train", checked)],
    )


@pytest.fixture(scope="module")
def other_configs(place, finished) -> list[Scene]:
    folder = place / "configs"
    folder.mkdir()
    texts = {
        "cross.yaml": "dataset: {name: synthetic_cells}\nclass_map: {basophil: basophil}\n",
        "table.yaml": "dataset: {name: synthetic_cells}\nsizes: [10]\n",
        "hardware.yaml": HARDWARE,
        "ablation.yaml": ABLATION,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    setup = importlib.import_module("hqnn_jax.runs.setup")
    return [
        Scene(folder, [folder / name], arguments, (), [(owner, attribute, not_begun)])
        for name, arguments, owner, attribute in (
            (
                "cross.yaml",
                ("evaluate", finished, "--cross", folder / "cross.yaml"),
                setup,
                "load_setup",
            ),
            (
                "table.yaml",
                ("paper", "aml2026", "--config", folder / "table.yaml", "--out", folder / "out"),
                aml2026,
                "run",
            ),
            (
                "hardware.yaml",
                ("hardware", finished, "--config", folder / "hardware.yaml", "--dry-run"),
                hardware,
                "_evaluation",
            ),
            (
                "ablation.yaml",
                ("ablate", folder / "ablation.yaml", "--out", folder / "out"),
                ablation_run,
                "run_ablation",
            ),
        )
    ]


@pytest.fixture(scope="module")
def circuit(place) -> Scene:
    folder = place / "modules"
    folder.mkdir(exist_ok=True)
    path = folder / "damaged_circuit.py"
    path.write_text(CIRCUIT)
    config = place / "own_circuit.yaml"
    config.write_text(
        SMALL.replace(
            "{name: radhi2025, num_qubits: 2, num_layers: 1}",
            '{name: "damaged_circuit:circuit", num_qubits: 2}',
        )
    )

    def checked(config: Config, *_: object, **__: object) -> None:
        check_model(config.model)
        not_begun()

    def start() -> None:
        sys.modules.pop("damaged_circuit", None)
        importlib.invalidate_caches()
        code, _, err = call("run", config, "--out", place / "own")
        if code:
            raise HqnnError(err.removeprefix("error: ").strip())

    sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
    yield Scene(folder, [path], start, (), [(runs_module, "train", checked)])
    sys.dont_write_bytecode = kept


@pytest.fixture(scope="module")
def images(place) -> Scene:
    folder = place / "data"
    config = place / "images.yaml"
    shares = "split: {method: stratified, validation: 0.3, test: 0.3}"
    config.write_text(
        SMALL.replace(
            "name: synthetic_cells", f"name: medical_mnist\n  data_dir: {folder}\n  {shares}"
        ).replace(SYNTHETIC, "")
    )
    names = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
    rng = np.random.default_rng(1)
    for number, suffix in enumerate(("png", "jpg", "bmp", "tif") * 3):
        for name in names:
            path = folder / "medical_mnist" / name / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8)).save(path)
    command = ("run", config, "--out", place / "images_out")
    return Scene(folder, files(folder, "**/*"), command, (), [(runs_module, "train", loading)])


@pytest.fixture(scope="module")
def cached(place) -> Scene:
    """Features of the frozen backbone, and prepared images."""
    config = place / "cached.yaml"
    config.write_text(SMALL)
    folder = place / "cached"
    command = ("run", config, "--out", place / "cached_out")
    scene = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HQNN_CACHE_DIR", str(folder))
        patch.setattr(runs_module, "train", loading)
        code, _, err = call(*command)
        assert (code, err.strip().splitlines()[-1]) == (1, f"error: {NOT_BEGUN}")

        def start() -> None:
            with pytest.MonkeyPatch.context() as inner:
                inner.setenv("HQNN_CACHE_DIR", str(folder))
                code, _, err = call(*command)
            assert code == 1
            raise HqnnError(err.strip().splitlines()[-1].removeprefix("error: "))

        found = files(folder, "**/*")
        scene = Scene(
            folder, found, start, tuple(p.name for p in found), [(runs_module, "train", loading)]
        )
    return scene


@pytest.fixture(scope="module")
def weights(place) -> Scene:
    """Few tensors of a network that has many: what is wrong is found before anything is read."""
    path = place / "weights" / "weights.safetensors"
    path.parent.mkdir()
    save_file(
        {"conv_stem.weight": np.ones((32, 3, 3, 3), np.float32)}, path, metadata={"mean": "[0.5]"}
    )
    module = nnx.eval_shape(lambda: EfficientNetB0(num_classes=None, rngs=nnx.Rngs(0)))
    return Scene(path.parent, [path], lambda: load_pretrained(module, path), ends="does not fit")


# --- the tests ------------------------------------------------------------------------------------


def fuzz(scene: Scene, examples: int) -> None:
    """Check many damages of the files of a scene."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=examples < 50,
    )
    @given(st.sampled_from(scene.files), damages())
    def check(path: Path, damage: Callable[[bytes], bytes]) -> None:
        scene.check(path, damage)

    scene.check_undamaged()
    check()


QUICK = {
    "report": 12, "ablate": 8, "on_backend": 12, "table": 4, "run_config": 30, "circuit": 24,
    "images": 12, "cached": 6, "weights": 24, "resume": 2, "evaluate": 2,
}  # fmt: skip
"""How many damages the normal suite tries."""


@pytest.mark.parametrize("name", QUICK)
def test_a_damaged_file_is_one_line(request, name):
    fuzz(request.getfixturevalue(name), QUICK[name])


def test_a_damaged_configuration_of_another_command_is_one_line(other_configs):
    for scene in other_configs:
        fuzz(scene, 12)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", QUICK)
def test_many_damaged_files_are_one_line(request, name):
    fuzz(request.getfixturevalue(name), 40 * QUICK[name])


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_many_damaged_configurations_are_one_line(other_configs):
    for scene in other_configs:
        fuzz(scene, 300)

"""Exported models: what they say, what is written, and what is refused."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from qiskit import qasm3
from qiskit.quantum_info import SparsePauliOp, Statevector

from hqnn_jax.circuits import Circuit
from hqnn_jax.errors import ExportError
from hqnn_jax.exporting import check, packages
from hqnn_jax.exporting.formats import FORMATS, export_model
from hqnn_jax.exporting.openqasm import to_openqasm3, trained_circuit
from hqnn_jax.exporting.suffixes import SUFFIXES
from hqnn_jax.trained.folder import write_model
from tests.cli.calls import assert_one_error
from tests.command_line import call
from tests.small_models import small_model

# Reads a file with JAX alone, in a process of its own.
READER = """
import sys
import jax, jax.export, numpy as np
program = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
images = np.load(sys.argv[2])
np.save(sys.argv[3], program.call(images))
assert not {"hqnn_jax", "flax"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    """A model as a file of StableHLO, by the command line, and what that printed."""
    folder = tmp_path_factory.mktemp("exported")
    write_model(folder / "model", model.record, model.variables, model.validation, "")
    file = folder / "model.stablehlo"
    code, out, err = call("export", folder / "model", "--to", "stablehlo", "--out", file)
    assert code == 0, err
    return file, out


def test_a_process_with_jax_alone_runs_the_program(model, written, tmp_path):
    file, _ = written
    shape = (4, model.resolution, model.resolution, model.channels)
    images = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", READER, file, tmp_path / "images.npy", tmp_path / "out.npy"]
    subprocess.run(command, check=True, cwd=tmp_path)
    found = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(found, model.predict(images).probabilities, atol=1e-5)


def test_what_is_beside_the_file_says_what_it_takes(model, written):
    file, out = written
    assert str(file) in out
    assert "largest difference from the model on random images" in out
    said = json.loads(file.with_name(f"{file.name}.json").read_text())
    assert said["class_names"] == list(model.class_names)
    assert said["input"]["shape"] == ["batch", model.resolution, model.resolution, 3]
    assert said["output"]["shape"] == ["batch", len(model.class_names)]
    assert said["largest_difference"] < 1e-4
    assert said["versions"]["jax"] == jax.__version__


def test_nothing_is_overwritten_and_wrong_use_is_told_first(written, tmp_path):
    file, _ = written
    before = file.read_bytes()
    again = ("export", "quickstart", "--to", "stablehlo", "--out")
    assert_one_error(call(*again, file), 1, str(file), "--force")
    assert_one_error(call(*again, tmp_path), 1, "is a folder")
    assert_one_error(call(*again, tmp_path / "no" / "file"), 1, "no such folder")
    assert_one_error(
        call("export", "quickstart", "--to", "onxn"), 2, "did you mean 'onnx'? ", "stablehlo"
    )
    wrong = ("export", "quickstart", "--to", "onnx", "--engine", "unitari")
    assert_one_error(call(*wrong), 2, "did you mean 'unitary'? ")
    assert_one_error(call("export", "quickstar", "--to", "onnx"), 1, "quickstart")
    assert file.read_bytes() == before


def test_a_program_that_says_something_else_is_refused(model):
    def right(images):
        return model.predict(images).probabilities

    assert check.largest_difference(model, right, "stablehlo") < 1e-5
    with pytest.raises(ExportError, match=r"differ by up to 0\.1"):
        check.largest_difference(model, lambda images: right(images) + 0.1, "stablehlo")
    with pytest.raises(ExportError, match="numbers that are not finite"):
        check.largest_difference(model, lambda images: right(images) * np.nan, "stablehlo")


def test_a_missing_package_is_named_with_what_installs_it(model, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    for name, extra in (("stablehlo", "export"), ("onnx", "onnx"), ("openqasm3", "qiskit")):
        with pytest.raises(ExportError, match=rf"{name}: needs .*hqnn-jax\[{extra}\]"):
            export_model(model, name)


def test_every_format_has_a_suffix():
    assert FORMATS.keys() == SUFFIXES.keys()


def test_the_trained_circuit_in_openqasm_gives_its_expectation_values():
    model = small_model({"circuit": {"name": "hqcnn2025", "num_qubits": 2, "num_layers": 2}})
    circuit, weights = trained_circuit(model)
    text = to_openqasm3(model)
    assert "weights" not in text
    assert model.record.trained_on.name in text
    read = qasm3.loads(text)
    features = np.random.default_rng(5).uniform(-2, 2, circuit.num_features)
    bound = read.assign_parameters(
        {p: features[int(p.name.rpartition("_")[2])] for p in read.parameters}
    )
    state = Statevector(bound)
    values = [
        sum(c * state.expectation_value(SparsePauliOp(word[::-1])) for c, word in each.terms)
        for each in circuit.observables
    ]
    expected = circuit.to_jax()(weights, features[None])[0]
    np.testing.assert_allclose(np.real(values), expected, atol=1e-5)
    assert isinstance(circuit, Circuit)


def test_a_model_without_a_circuit_has_none_to_export():
    with pytest.raises(ExportError, match="'none': there is no circuit"):
        to_openqasm3(small_model({"middle": "none"}))


@pytest.mark.slow
@pytest.mark.parametrize("views", ["none", "dihedral"])
@pytest.mark.parametrize("shots", [None, 100])
def test_views_and_shots_are_exported(views, shots):
    model = small_model(views=views, shots=shots)
    assert export_model(model, "stablehlo").difference < 1e-5

"""aml2026: every arm, its tables, a run that goes on where it was stopped."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.config.loading import load_section
from hqnn_jax.errors import ConfigurationError, TrainingError
from hqnn_jax.experiments.aml2026 import arms as aml2026_arms
from hqnn_jax.experiments.aml2026 import circuits as aml2026_circuits
from hqnn_jax.experiments.aml2026 import report as aml2026_report
from hqnn_jax.experiments.aml2026 import study as aml2026
from hqnn_jax.experiments.paper import PaperRequest
from hqnn_jax.progress import Progress
from hqnn_jax.reporting.document import Table, write_document
from hqnn_jax.training.patience import PatientFit

QUIET = Progress(terminal=False)


FEW_QUBITS = ("vqc.iterations=20", "num_components=2")
"""The circuit's compilation is most of the time of the small variant."""


# --- configuration ---


def test_names_of_finished_cells_stay_as_they_are():
    config = load_section(aml2026.CONFIG_FILE, (), aml2026.Aml2026Config)
    keys = [aml2026._cell_key(config, "0" * 64, 250, name) for name in ("vqc_cobyla", "dense")]
    assert keys == ["bad48da0ca9f2049", "99cbbead3f2920ec"]


@pytest.mark.parametrize("name", ["aml2026", "aml2026_aml_cytomorphology"])
def test_shipped_configurations_are_the_published_table(name):
    config = load_section(aml2026.CONFIG_FILE.with_name(f"{name}.yaml"), (), aml2026.Aml2026Config)
    assert config.sizes == (50, 100, 200, 250)
    assert len(config.seeds) == 5
    assert config.dataset.resolution == 64
    assert config.equilibrium_propagation.hidden_widths == (256, 128, 64)
    assert config.equilibrium_propagation.patience == config.dense.patience == 15
    assert (config.vqc.iterations, config.num_components) == (200, 4)
    assert set(config.arms) == set(aml2026.ARMS) - {"cnn"}
    if "cytomorphology" in name:
        assert set(config.dataset.label_map["malignant"]) == {"MYB", "MYO", "MOB", "PMO", "PMB"}
        assert sum(map(len, config.dataset.label_map.values())) == 15


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("arms=[dense, vqc_cobila]", "did you mean 'vqc_cobyla'"),
        ("sizes=[50, 50]", "sizes: the same value appears twice"),
        ("equilibrium_propagation.nudge=1.5", "nudge: input should be less than 1"),
        ("vqc.reps=1", "unknown key 'vqc.reps'"),
    ],
)
def test_wrong_keys_are_refused(override, message):
    with pytest.raises(ConfigurationError, match=message):
        load_section(aml2026.CONFIG_FILE, (override,), aml2026.Aml2026Config)


def test_more_than_two_classes_are_refused(tmp_path):
    overrides = (*aml2026.SMALL, "dataset.label_map=null")
    config = load_section(aml2026.CONFIG_FILE, overrides, aml2026.Aml2026Config)
    with pytest.raises(ConfigurationError, match="has 8 classes; aml2026 needs two"):
        aml2026.run(config, tmp_path, QUIET)


# --- the small variant, run once ---


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("aml2026")
    return out, aml2026.reproduce(PaperRequest(out, FEW_QUBITS, small=True, progress=QUIET))


def test_every_arm_is_run_at_every_size(small):
    _, document = small
    cells = document.data["cells"]
    assert document.synthetic
    assert [(c["size"], c["arm"]) for c in cells] == [
        (size, arm) for size in (16, 32) for arm in aml2026.ARMS if arm != "cnn"
    ]
    for cell in cells:
        truth, predictions = np.asarray(cell["labels"]), np.asarray(cell["predictions"])
        assert predictions.shape == truth.shape == (2, {16: 7, 32: 13}[cell["size"]])
        assert cell["accuracies"] == (predictions == truth).mean(axis=1).tolist()
        assert set(np.unique(predictions)) <= {0, 1}
        assert cell["train_seconds"] > 0
    json.dumps(document.data, allow_nan=False)


def test_the_parts_have_the_papers_sizes(small):
    cells = {c["arm"]: c for c in small[1].data["cells"] if c["size"] == 32}
    assert cells["vqc_cobyla"]["parameters"] == cells["vqc_adam"]["parameters"] == 3 * 2
    # 20-32-2 in the small variant; the network of equilibrium propagation is the dense one.
    expected = 20 * 32 + 32 + 32 * 2 + 2
    assert cells["dense"]["parameters"] == expected
    assert cells["equilibrium_propagation"]["parameters"] == expected
    for name in ("vqc_cobyla", "vqc_spsa", "vqc_adam"):
        assert np.shape(cells[name]["losses"]) == (2, 20)
    adam = np.asarray(cells["vqc_adam"]["losses"])
    assert (adam[:, -1] < adam[:, 0]).all()


def test_cells_that_can_be_told_apart_are(small):
    cells = {c["arm"]: c for c in small[1].data["cells"] if c["size"] == 32}
    for name in ("dense", "equilibrium_propagation", "rbf_svm_features"):
        assert np.mean(cells[name]["accuracies"]) > 0.75


def test_a_finished_run_is_read_and_a_damaged_or_changed_cell_is_run_again(small, monkeypatch):
    out, document = small
    files = sorted((out / "cells").glob("*.json"))
    assert len(files) == 22
    (damaged,) = (out / "cells").glob("16_rbf_svm_features_*.json")
    calls = []

    def counted(name, function):
        def run(data, options):
            calls.append((data.labels.test.shape[1], name))
            return function(data, options)

        return run

    counting = {
        name: arm._replace(function=counted(name, arm.function))
        for name, arm in aml2026.ARMS.items()
    }
    monkeypatch.setattr(aml2026, "ARMS", counting)
    for content in ('{"size": 16', '{"size": 16, "arm": "rbf_svm_features"}', "[]"):
        damaged.write_text(content)
        again = aml2026.reproduce(PaperRequest(out, FEW_QUBITS, small=True, progress=QUIET))
        assert calls == [(7, "rbf_svm_features")]
        for new, old in zip(again.data["cells"], document.data["cells"], strict=True):
            assert new["predictions"] == old["predictions"]
        calls.clear()
    changed = (*FEW_QUBITS, "svm.penalty=2.0", "sizes=[16]", "arms=[dense, rbf_svm]")
    aml2026.reproduce(PaperRequest(out, changed, small=True, progress=QUIET))
    assert calls == [(7, "rbf_svm")]


def test_the_report_has_the_tables(small, tmp_path):
    document = small[1]
    titles = [section.title for section in document.sections]
    assert titles[0] == "Accuracy by number of images"
    (table,) = document.sections[0].of(Table)
    assert table.columns == ("Test accuracy (%)", "16 per class", "32 per class")
    assert len(table.rows) == 10
    # Synthetic figures stand beside no published ones.
    beside, _ = document.sections[1].of(Table)
    assert {row[3] for row in beside.rows} == {"—"}
    (differences,) = document.sections[2].of(Table)
    assert differences.rows[0][0].startswith("Equilibrium propagation − Dense")
    page = write_document(tmp_path / "report.html", document).read_text()
    assert page.count("<svg") + page.count("data:image/svg") >= 2


def test_published_figures_stand_beside_ours_at_250_per_class(small):
    results = json.loads(json.dumps(small[1].data))
    results["dataset"]["synthetic"] = False
    results["dataset"]["test_images"]["250"] = 100
    for cell in results["cells"]:
        cell["size"] = {32: 250}.get(cell["size"], cell["size"])
    for cell in results["cells"]:
        if cell["arm"] == "equilibrium_propagation":
            cell["accuracies"] = [0.9, 0.8]
    table, _ = aml2026_report.sections(results)[1].of(Table)
    rows = {row[0]: row for row in table.rows}
    assert rows["Equilibrium propagation"][1:4] == ("85.00", "21.47–100.00", "86.40")
    assert rows["Equilibrium propagation"][7:] == ("1 min 29 s", "130 ms")
    assert rows["Circuit, COBYLA"][3] == "83.00"
    assert rows["Dense network, backpropagation"][3] == "92.00"
    assert rows["Circuit, SPSA"][3] == "—"


def test_published_figures_are_of_other_labels_so_no_difference_is_shown(small):
    for name in ("pbc", "aml_cytomorphology"):
        results = json.loads(json.dumps(small[1].data))
        results["dataset"] |= {"synthetic": False, "name": name}
        for cell in results["cells"]:
            cell["size"] = {32: 250}.get(cell["size"], cell["size"])
        results["dataset"]["test_images"]["250"] = 100
        table, _ = aml2026_report.sections(results)[1].of(Table)
        assert not any("ifference" in column for column in table.columns)
        assert "AML patients against healthy ones" in table.note
        assert f"ours are of {name}: other labels" in table.note


def test_the_claims_stand_beside_ours(small):
    results = json.loads(json.dumps(small[1].data))
    sizes = (16, 32)
    accuracies = {"vqc_cobyla": {16: [0.6, 0.5], 32: [0.5, 0.6]}, "cnn": {16: [0.7], 32: [0.9]}}
    cells = [cell for cell in results["cells"] if cell["arm"] == "vqc_cobyla"]
    cells += [{**cell, "arm": "cnn"} for cell in cells]
    for cell in cells:
        cell["accuracies"] = (accuracies[cell["arm"]][cell["size"]] * 2)[:2]
    results["cells"] = cells
    claims = aml2026_report.sections(results)[1].of(Table)[1].rows
    assert [row[1] for row in claims] == ["12.0", "15.4", "50", "250"]
    # Equilibrium propagation was not run; the circuit is 0.4 and 0.3 below the CNN.
    assert claims[0][2] == "—"
    assert claims[1][2].startswith("+35.00 (")
    assert [row[2] for row in claims[2:]] == [str(size) for size in sizes]


def test_what_the_components_keep_is_computed_and_printed(small, monkeypatch):
    out, document = small
    retained = document.data["retained_variance"]
    assert sorted(retained) == ["16", "32"]
    for values in retained.values():
        assert len(values) == 2
        assert all(0.2 < value < 1 for value in values)
    reading = next(r for r in aml2026_report.readings(document.data) if "95 %" in r)
    kept = _percent(retained["16"])
    assert f"2 components retain, mean over seeds (smallest to largest), {kept}" in reading
    assert f"{_percent(retained['32'])} at 32 per class" in reading

    def fail(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(aml2026, "pool_features", fail)
    again = aml2026.reproduce(PaperRequest(out, FEW_QUBITS, small=True, progress=QUIET))
    assert again.data["retained_variance"] == retained


def _percent(values):
    mean, low, high = (100 * f(values) for f in (np.mean, min, max))
    return f"{mean:.1f} % ({low:.1f} to {high:.1f})"


def test_the_readings_say_what_runs(small):
    def readings(**changes):
        results = json.loads(json.dumps(small[1].data))
        for key, value in changes.items():
            section, option = key.split("__")
            results["config"][section][option] = value
        return " ".join(aml2026_report.readings(results))

    assert "symmetric=false and is not what ran" in readings()
    one_sided = readings(equilibrium_propagation__symmetric=False)
    assert "not what ran" not in one_sided
    assert "as published" in one_sided
    assert "Ours has 6 (2 repetitions" in readings()
    assert "Ours has 4 (1 repetitions" in readings(vqc__circuit_reps=1)
    assert "square root of the angular second moment" in readings()


def test_the_depths_that_are_stated_are_qiskits():
    library = pytest.importorskip("qiskit.circuit.library")
    ansatz = library.real_amplitudes(4, entanglement="full", reps=2)
    whole = library.zz_feature_map(4, reps=2, entanglement="full").compose(ansatz)
    assert ansatz.depth() == 12
    assert ansatz.num_parameters == 12
    assert whole.decompose().depth() == whole.depth() == 42
    assert aml2026_circuits.vqc_circuit(4, 2).to_qiskit().circuit.depth() == 42
    text = " ".join(aml2026_report.readings(_DEPTH_RESULTS))
    assert "depth of 12" in text
    assert "the whole has depth 42" in text


_DEPTH_RESULTS = {
    "config": {
        "num_components": 4,
        "vqc": {"circuit_reps": 2, "iterations": 200},
        "equilibrium_propagation": {"symmetric": True},
    },
    "retained_variance": {"250": [0.8]},
}


def test_one_seed_has_no_interval(small):
    results = json.loads(json.dumps(small[1].data))
    results["config"]["seeds"] = [0]
    for cell in results["cells"]:
        cell["accuracies"] = cell["accuracies"][:1]
    table, _ = aml2026_report.sections(results)[1].of(Table)
    assert {row[2] for row in table.rows} == {"—"}


def test_a_network_that_never_converged_is_an_error():
    arrays = jnp.array([4, 0]), jnp.array([9, 3]), jnp.ones((2, 9))
    fit = PatientFit(({"w": jnp.ones((2, 3))},), *arrays)
    with pytest.raises(TrainingError, match="lower the arm's learning_rate"):
        aml2026_arms.network_outcome((fit, jnp.zeros((2, 5), int)), 1.0, 1.0)


# --- real cells ---


@pytest.mark.slow
def test_equilibrium_propagation_comes_within_three_points_of_backpropagation(
    shared_data, tmp_path, monkeypatch
):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    overrides = (
        f"dataset.data_dir={shared_data}",
        "sizes=[250]",
        "arms=[equilibrium_propagation, dense, quantum_kernel_svm, rbf_svm]",
    )
    data = aml2026.reproduce(PaperRequest(tmp_path, overrides, progress=QUIET)).data
    accuracy = {c["arm"]: np.mean(c["accuracies"]) for c in data["cells"]}
    assert accuracy["dense"] > 0.9
    assert accuracy["equilibrium_propagation"] > accuracy["dense"] - 0.03
    assert accuracy["rbf_svm"] > accuracy["quantum_kernel_svm"] + 0.1
    assert data["dataset"]["class_counts"] == [250, 250]


@pytest.mark.slow
def test_the_cnn_runs_on_pixels(tmp_path):
    overrides = ("arms=[cnn]", "sizes=[32]", "cnn.max_epochs=6", "dataset.resolution=28")
    (cell,) = aml2026.reproduce(PaperRequest(tmp_path, overrides, small=True, progress=QUIET)).data[
        "cells"
    ]
    assert np.shape(cell["predictions"]) == (2, 13)
    convolutions = sum(9 * i * o for i, o in ((3, 16), (16, 16), (16, 64), (64, 64), (64, 64)))
    norms_and_dense = 2 * (16 + 16 + 64 * 3) + 1024 * 64 + 64 + 64 * 2 + 2
    assert cell["parameters"] == convolutions + norms_and_dense
    assert np.mean(cell["accuracies"]) > 0.5


def test_initial_values_of_both_networks_are_the_same():
    # The comparison of learning rules needs one network.
    config = aml2026_arms.DenseConfig()
    assert config.hidden_widths == aml2026.EquilibriumConfig().hidden_widths
    assert config.batch_size == aml2026.EquilibriumConfig().batch_size

"""The page of an evaluation on a backend, from results that were made up."""

import dataclasses
import html
import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from hqnn_jax.errors import RunFolderError
from hqnn_jax.hardware_evaluation.report import hardware_document, write_hardware_report
from hqnn_jax.hardware_evaluation.results import ModelResult
from hqnn_jax.reporting.document import Picture, Table, Text
from tests.ablation.conftest import Page
from tests.hardware_evaluation.results_factory import (
    HOSTILE,
    IMAGES,
    NO_DEVICE,
    OUTPUTS,
    arm,
    classical,
    results,
)


@pytest.fixture(scope="module")
def page(two_models, tmp_path_factory):
    path = tmp_path_factory.mktemp("hardware") / "report.html"
    figure = Figure()
    figure.text(0, 0, "drawing")
    assert write_hardware_report(path, two_models, [("As compiled.", figure)]) == path
    return Page(path.read_text(encoding="utf-8"))


def written(tmp_path, found):
    path = write_hardware_report(tmp_path / "report.html", found, [])
    text = path.read_text(encoding="utf-8")
    shown = Page(text)
    for word in ("nan", "None", "inf"):
        assert not re.search(rf"\b{word}\b", shown.text)
    return shown


def test_the_lead_says_how_the_unmitigated_backend_compares(page, two_models):
    low, high = two_models.record()["models"][0]["arms"][3]["intervals"]["accuracy"]
    assert (
        "On fake_five (a stored snapshot of a device, simulated here) the trained circuit of "
        f"hybrid gets 77.5 % (95 % interval {100 * low:.1f}–{100 * high:.1f}) of 40 test images "
        "right, exact simulation 92.5 %: difference −15.0 points" in page.text
    )
    # Six images are right in the exact arm alone: twice 0.5^6.
    assert "McNemar p = 0.031" in page.text
    bounds = stats.binomtest(34, 40).proportion_ci(method="wilson")
    assert (
        f"85.0 % ({100 * bounds.low:.1f}–{100 * bounds.high:.1f}) of the predictions" in page.text
    )
    assert "lower by more than chance explains" in page.text
    assert "best" not in page.text


def test_what_ran_and_what_was_not_measured_is_said(page):
    assert "No quantum hardware ran: fake_five was simulated on this machine" in page.text
    assert "2025-02-26 14:43 UTC-05:00" in page.text
    assert "A stored snapshot: the device is another today." in page.text
    assert "Answering “basophil” every time would be right for 35.0 %" in page.text
    assert "matched, as trained, not on the backend: accuracy 80.0 %" in page.text
    assert "It leaves out crosstalk" in page.text
    assert "Synthetic data" not in page.text


def test_one_table_has_every_arm_of_every_model(page):
    rows = [row for row in page.rows if len(row) == 6 and row[0].startswith(("hybrid", "matched"))]
    assert [row[0] for row in rows[:6]] == [
        "hybrid: exact",
        "hybrid: shots, no noise",
        "hybrid: noise model",
        "hybrid: backend, unmitigated",
        "hybrid: readout + dynamical decoupling",
        "matched: stored predictions",
    ]
    exact, _, _, backend, mitigated, stored = rows[:6]
    assert exact[3:] == stored[3:] == ["—"] * 3
    assert exact[1].startswith("92.5 (")
    assert stored[1].startswith("80.0 (")
    assert backend[1].startswith("77.5 (")
    assert backend[3].startswith("−15.0 (−")
    assert backend[4] == "0.031 (0 : 6)"
    assert backend[5].startswith("85.0 (")
    assert mitigated[3] == "0.0 (−8.8 to +8.8)"
    assert mitigated[4] == "1.000 (0 : 0)"


def test_errors_of_outputs_shots_and_time(page, two_models):
    exact, measured = (two_models.models[0].arms[place].values for place in (0, 3))
    rmse = np.sqrt(np.mean((measured - exact) ** 2, axis=0))
    row = page.row("hybrid: backend, unmitigated", f"{rmse.mean():.4f}")
    assert row[2:] == ["0.0200", "4,096", "1 min 23 s"]
    assert page.row("hybrid: noise model", f"{0.2 * _rms(exact).mean():.4f}")[2:] == ["—"] * 3
    assert page.row("RMSE", *OUTPUTS)
    assert page.row("backend, unmitigated", *(f"{value:.4f}" for value in rmse))
    bias = [f"{v:+.4f}".replace("-", "−") for v in (measured - exact).mean(axis=0)]
    assert page.row("backend, unmitigated", *bias)
    raw = [f"{v:.4f}" for v in 0.5 * _rms(exact)]
    assert page.row("readout + dynamical decoupling", *raw)
    assert "backend, unmitigated 0.750" in page.text  # the slope


def _rms(values):
    return np.sqrt(np.mean(values**2, axis=0))


def test_the_compiled_circuit_and_its_plan(page):
    assert page.row("Two-qubit depth", "4")
    assert page.row("Two-qubit gates", "1,010")
    assert page.row("Layout", "0→7, 1→5, 2→6; measured 0→7, 1→6, 2→5")
    assert page.row("Expected fidelity", "0.812")
    assert page.row("hybrid", "80", "4,096", "327,680", "3", "1 min 15 s")
    assert "optimisation level 3; of 8 seeds" in page.text
    assert "As compiled." in page.text
    assert "differ by at most 3e-07 from those its training run had stored" in page.text


def test_calibration_has_units_and_only_gates_in_use(page):
    assert page.row("Qubit", "T1 (µs)", "T2 (µs)", "Readout error (%)", "sx error (%)")
    assert page.row("5") == ["5", "123.4", "56.7", "2.11", "0.0250"]
    assert page.row("6") == ["6", "—", "—", "—", "—"]
    assert page.row("5–6") == ["5–6", "ecr", "0.745", "533"]
    assert page.row("6–7") == ["6–7", "ecr", "—", "—"]
    assert not [row for row in page.rows if row[:1] == ["6–5"] or row[1:2] == ["cz"]]


def test_settings_jobs_and_versions_are_listed(page):
    for text in ("interval_samples: 200", "qiskit: 2.6.1", "hybrid, backend, unmitigated: job-1"):
        assert text in page.text


def test_the_page_needs_nothing_else_and_is_the_same_every_time(two_models, page, tmp_path):
    assert page.sources
    assert all(source.startswith("data:") for source in page.sources)
    small = dataclasses.replace(two_models, models=two_models.models[1:])
    files = [write_hardware_report(tmp_path / f"{n}.html", small, []) for n in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_document_carries_the_record(two_models):
    document = hardware_document(two_models, [])
    assert document.data == two_models.record()
    assert json.dumps(document.data, allow_nan=False)
    assert not document.synthetic


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"report\.html"):
        write_hardware_report(tmp_path / "file" / "report.html", results([classical()]), [])


# --- extremes ------------------------------------------------------------------------------------


def test_a_classical_model_alone_without_device(tmp_path):
    shown = written(tmp_path, results([classical()], backend="aer", calibration=NO_DEVICE))
    assert "There is no unmitigated evaluation of matched on aer here" in shown.text
    assert "No quantum hardware ran: aer (simulated shots, no device and no noise)" in shown.text
    assert "There is none: aer has no device behind it" in shown.text
    assert not [row for row in shown.rows if row and row[0] == "RMSE"]


def test_two_classes_without_errors_and_constant_values(tmp_path):
    ones = np.ones((IMAGES, 1))
    arms = (
        arm("exact", "exact", 0, classes=2, values=ones),
        arm("backend", "backend", 0, classes=2, values=ones, details={"shots": 7}),
    )
    model = ModelResult("sure", "", arms, ("Z0",))
    shown = written(tmp_path, results([model], backend="ibm_torino", names=("no", "yes")))
    assert "On the device ibm_torino the trained circuit of sure gets 100.0 %" in shown.text
    assert "Each image is right in both or wrong in both." in shown.text
    assert "The jobs ran on quantum hardware" in shown.text
    assert shown.row("backend, unmitigated")[1:3] == ["100.0 (91.2–100.0)", "100.0 (—)"]
    assert "slope" not in shown.text


def test_sixty_four_outputs_nine_arms_and_hostile_names(tmp_path):
    exact = np.random.default_rng(2).uniform(0, 1, (IMAGES, 64))
    worst = [3, 4, 10, 17, 30, 40, 41, 63]
    off = np.full(64, 0.01)
    off[worst] = 0.2
    kinds = [("exact", "exact"), ("shots", "shots"), ("noise_model", "noise model")]
    kinds += [("backend", "backend"), *(("mitigated", f"zne+m{n}") for n in range(5))]
    arms = tuple(
        arm(*kind, place, values=exact + (0 if place == 0 else off), details={"shots": 9})
        for place, kind in enumerate(kinds)
    )
    names = tuple(f"output {n}" for n in range(64))
    tuned = {"losses": [1.2, 0.9], "gradient_norms": [1.0, 2.0], "method": "spsa", "change": 0.25}
    models = [
        ModelResult(HOSTILE, HOSTILE, arms, names),
        ModelResult("hybrid, fine-tuned", "", arms[:2], names, {"fine_tuning": tuned}),
    ]
    dataset = {"name": "cells", "split": "train", "synthetic": True, "images": IMAGES}
    shown = written(tmp_path, results(models, dataset=dataset, names=(HOSTILE, "b", "c")))
    header = shown.row("RMSE")
    assert header[1:] == [f"output {place}" for place in worst]
    assert shown.row("Bias")[1:] == header[1:]
    assert "the 8 with the largest RMSE of 64 outputs" in shown.text
    assert "The 5 mitigated arms reach accuracies from 80.0 to 90.0 %" in shown.text
    assert "Synthetic data." in shown.text
    assert "all 40 synthetic train images" in shown.text
    assert HOSTILE in shown.text
    assert shown.row("Fine-tuning", "hybrid, fine-tuned")
    assert shown.row("Change of the weights (norm, radians)", "0.25")
    assert not [row for row in shown.rows if row[:1] == ["gradient_norms"]]


@pytest.mark.parametrize(
    ("errors", "conclusion"),
    [
        (
            5,
            "The accuracies do not differ significantly, which does not show that they are equal: "
            "the interval is what these images leave open.",
        ),
        (12, "Its accuracy is lower by more than chance explains."),
    ],
)
def test_a_conclusion_follows_from_the_p_value(errors, conclusion):
    arms = (arm("exact", "exact", 3), arm("backend", "backend", errors))
    document = hardware_document(results([ModelResult("m", "", arms)]), [])
    assert _lead(document).endswith(conclusion)


def _lead(document):
    (text,) = [text for text in document.sections[0].of(Text) if text.look == "lead"]
    return text.parts[0]


def test_a_gain_is_not_called_a_loss():
    arms = (arm("exact", "exact", 12), arm("backend", "backend", 3))
    document = hardware_document(results([ModelResult("m", "", arms)]), [])
    assert "difference +22.5 points" in _lead(document)
    assert "Its accuracy is higher by more than chance explains." in _lead(document)


def test_fine_tuned_weights_are_compared_with_those_before_on_the_backend():
    before = (arm("exact", "exact", 3), arm("backend", "backend", 12))
    after = (arm("exact", "exact", 5), arm("backend", "backend", 4))
    tuned = {"fine_tuning": {"losses": [1.0, 0.5], "method": "spsa"}}
    models = [ModelResult("m", "", before), ModelResult("m, fine-tuned", "", after, (), tuned)]
    sections = hardware_document(results(models), []).sections
    (section,) = [s for s in sections if s.title.startswith("Fine-tuning")]
    sentence, table, picture = section.blocks
    assert sentence.startswith("m, fine-tuned, against the weights before")
    # Eight images are right only afterwards: twice 0.5^8.
    assert "+20.0 points (+" in sentence
    assert "McNemar p = 0.008" in sentence
    assert isinstance(table, Table)
    assert isinstance(picture, Picture)


def test_text_is_escaped(tmp_path):
    model = ModelResult(HOSTILE, "", (arm("stored", "as trained", 1),))
    path = write_hardware_report(tmp_path / "report.html", results([model]), [])
    text = path.read_text(encoding="utf-8")
    assert html.escape(HOSTILE) in text
    assert HOSTILE not in text

"""`python -m experiment hardware` as a user meets it."""

import json
import re
import shutil

import numpy as np
import pytest
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from hqnn_jax.hardware import backends, execution
from hqnn_jax.runs.finished import load_run
from tests.command_line import call

FEW = ("images.count=12", "shots=256", "compilation.tries=2", "interval_samples=100")
TOKEN = "not-a-real-token-41c"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "hardware_cache"))
    monkeypatch.delenv("HQNN_DATA_DIR", raising=False)


def evaluate(run, *arguments):
    code, out, err = call("hardware", run, *arguments)
    assert code == 0, err
    return out, err


def record(folder):
    return json.loads((folder / "hardware.json").read_text())


def arrays(folder):
    return dict(np.load(folder / "hardware.npz"))


def arm_places(folder, model=0):
    return {arm["label"]: n for n, arm in enumerate(record(folder)["models"][model]["arms"])}


def test_exact_values_repeat_what_the_run_predicted(runs, tmp_path):
    evaluate(
        runs["quantum"],
        "backend=statevector",
        "seed=1",
        "images.count=null",
        "--out",
        tmp_path / "o",
    )
    found, places = arrays(tmp_path / "o"), arm_places(tmp_path / "o")
    assert list(places) == ["exact", "backend"]
    stored = load_run(runs["quantum"])
    expected = stored.predictions.probabilities["test"][1]
    assert not np.allclose(expected, stored.predictions.probabilities["test"][0], atol=1e-2)
    np.testing.assert_allclose(found["0_0_probabilities"], expected, atol=2e-6)
    np.testing.assert_array_equal(found["labels"], stored.predictions.labels["test"])
    # Eight views of 60 images, three outputs.
    assert found["0_0_values"].shape == (480, 3)
    np.testing.assert_allclose(found["0_1_values"], found["0_0_values"], atol=1e-8)
    np.testing.assert_array_equal(found["0_1_standard_errors"], 0)
    model = record(tmp_path / "o")["models"][0]
    assert model["difference_from_run"] < 2e-6
    assert model["arms"][1]["agreement"]["share"] == 1
    assert model["arms"][0]["accuracy"] == pytest.approx(
        np.mean(expected.argmax(1) == found["labels"])
    )


@pytest.fixture(scope="module")
def on_manila(runs, tmp_path_factory):
    """An evaluation with everything on a fake device, and what it printed."""
    out = tmp_path_factory.mktemp("hardware") / "manila"
    printed = evaluate(
        runs["quantum"], "backend=fake_manila", *FEW, "mitigation=[readout,zne]",
        "randomizations=2", f"beside=[{runs['matched']}]", "--out", out,
    )  # fmt: skip
    return out, printed


def test_all_arms_are_compared_on_the_same_images(runs, on_manila):
    out, (printed, _) = on_manila
    found, content = arrays(out), record(out)
    assert content["dataset"]["synthetic"]
    quantum, matched = content["models"]
    assert [arm["label"] for arm in quantum["arms"]] == [
        "exact", "shots", "noise model", "backend", "readout", "zne",
    ]  # fmt: skip
    assert quantum["compiled"]["backend"] == "fake_manila"
    assert [arm["kind"] for arm in matched["arms"]] == ["stored"]
    stored = load_run(runs["matched"]).predictions.probabilities["test"][0]
    np.testing.assert_allclose(found["1_0_probabilities"], stored[found["positions"]], atol=1e-7)
    truth = load_run(runs["quantum"]).predictions.labels["test"]
    np.testing.assert_array_equal(found["labels"], truth[found["positions"]])
    for arm in quantum["arms"][1:]:
        assert set(arm["agreement"]) == {"share", "interval"}
        assert [error["output"] for error in arm["outputs"]] == ["Z0", "Z1", "Z2"]
    assert content["calibration"]["device"] == "fake_manila"
    assert len(content["calibration"]["qubits"]) >= 3
    for label in ("exact", "noise model", "backend", "readout", "zne"):
        assert f"quantum, {label}: accuracy" in printed
    assert "matched, as trained: accuracy" in printed
    page = (out / "report.html").read_text()
    assert "fake_manila" in page
    assert "synthetic" in page


def test_the_noise_model_predicts_what_the_backend_measures(on_manila):
    out, _ = on_manila
    found, places = arrays(out), arm_places(out)

    def z(label, reference):
        values = found[f"0_{places[label]}_values"] - found[f"0_{places[reference]}_values"]
        return values / found[f"0_{places[label]}_standard_errors"]

    assert np.sqrt(np.mean(z("backend", "noise model") ** 2)) < 1.3
    assert np.sqrt(np.mean(z("shots", "exact") ** 2)) < 1.3
    assert np.sqrt(np.mean(z("backend", "exact") ** 2)) > 1.5


def test_a_finished_evaluation_is_not_overwritten(runs, on_manila):
    out, _ = on_manila
    before = record(out)
    arguments = (
        "backend=fake_manila", *FEW, "mitigation=[readout,zne]", "randomizations=2",
        f"beside=[{runs['matched']}]",
    )  # fmt: skip
    code, _, err = call("hardware", runs["quantum"], *arguments, "--out", out)
    assert code == 1
    assert "holds a finished evaluation" in err
    code, _, err = call("hardware", runs["quantum"], "shots=99", "--resume", "--out", out)
    assert code == 1
    assert "other settings: backend is 'fake_manila' there, 'fake_sherbrooke' here" in err
    # Everything is read again, nothing simulated or sent.
    (out / "report.html").unlink()
    entries = {path: path.stat().st_mtime_ns for path in (out / "jobs").iterdir()}
    evaluate(runs["quantum"], "--resume", "--out", out)
    assert (out / "report.html").exists()
    assert {path: path.stat().st_mtime_ns for path in (out / "jobs").iterdir()} == entries
    after = record(out)
    assert after["models"] == before["models"]


def test_an_evaluation_is_resumed_with_its_own_run(runs, on_manila, tmp_path):
    out, _ = on_manila
    shutil.copytree(out, tmp_path / "o")
    path = tmp_path / "o" / "models.json"
    noted = json.loads(path.read_text())
    assert [model["model"] for model in noted["models"]] == ["quantum"]
    # As if the run had been trained again since.
    noted["models"][0]["jobs"] = "0" * 64
    path.write_text(json.dumps(noted))
    code, _, err = call("hardware", runs["quantum"], "--resume", "--out", tmp_path / "o")
    assert code == 1
    assert "holds an evaluation of another circuit, of other weights or images" in err


def test_a_dry_run_sends_and_writes_nothing(runs, tmp_path):
    printed, _ = evaluate(
        runs["quantum"], "--dry-run", "backend=fake_manila", *FEW, "mitigation=[zne]",
        "fine_tuning={method: parameter_shift, iterations: 3, batch_size: 4}", "--out",
        tmp_path / "o",
    )  # fmt: skip
    assert not (tmp_path / "o").exists()
    assert not (runs["quantum"] / "hardware").exists()
    # 12 images in 8 views.
    assert "96 samples in 1 bases: 96 circuits of 256 shots, 24,576 shots in 1 jobs" in printed
    assert "mitigation: zne" in printed
    assert "288 circuits" in printed
    # Three batches of 4 images, forward and two shifts of each of 6 trained angles.
    assert "156 samples in 1 bases" in printed
    assert "39,936 shots in 3 jobs" in printed
    assert "QPU time: about" in printed


@pytest.mark.parametrize(
    "method", ["spsa", pytest.param("parameter_shift", marks=pytest.mark.slow)]
)
def test_fine_tuned_weights_are_evaluated_too(runs, tmp_path, method):
    tuning = f"fine_tuning={{method: {method}, iterations: 2, batch_size: 6}}"
    arguments = ("backend=fake_manila", *FEW, "noise_model=false", tuning)
    evaluate(runs["quantum"], *arguments, "--out", tmp_path / "o")
    first, tuned = record(tmp_path / "o")["models"]
    assert tuned["name"] == "quantum, fine-tuned"
    assert "fine_tuning" not in first
    assert len(tuned["fine_tuning"]["losses"]) == 2
    assert tuned["fine_tuning"]["change"] > 0
    found = arrays(tmp_path / "o")
    assert not np.allclose(found["0_0_values"], found["1_0_values"], atol=1e-4)
    jobs = sorted((tmp_path / "o" / "jobs").glob("*.json"))
    before = found["1_2_values"]
    evaluate(runs["quantum"], "--resume", "--out", tmp_path / "o")
    assert sorted((tmp_path / "o" / "jobs").glob("*.json")) == jobs
    np.testing.assert_array_equal(arrays(tmp_path / "o")["1_2_values"], before)


class RuntimeJobNotFound(Exception):
    """As the service raises it."""


class Job:
    """A finished job of the service."""

    def __init__(self, simulated):
        self.job_id, self.result = simulated.job_id, simulated.result

    def wait_for_final_state(self):
        self.result()

    def status(self):
        return "DONE"


class Service:
    """An account with one device, which keeps its jobs between processes."""

    def __init__(self):
        self.device = FakeManilaV2()
        self.sent, self.tags = {}, {}
        self.is_down, self.refuses, self.expired = False, False, set()

    def backend(self, name):
        if name != "ibm_manila":
            raise LookupError(f"no {name}, token={TOKEN}")
        return self.device

    def backends(self):
        return [self.device]

    def job(self, job_id):
        if self.is_down:
            raise ConnectionError(f"no route, token={TOKEN}")
        if job_id in self.expired:
            raise RuntimeJobNotFound(job_id)
        return self.sent[job_id]

    def jobs(self, *, limit, job_tags):
        return [self.tags[tag] for tag in job_tags if tag in self.tags][:limit]


@pytest.fixture
def service(monkeypatch):
    service = Service()
    submit = execution.JobRequest.submit

    def send(request, within=None, *, tag=None):
        if service.refuses and len(service.sent) >= service.refuses:
            raise execution.HardwareError("ibm_manila did not take the job (quota)")
        job = Job(submit(request, within, tag=tag))
        service.sent[job.job_id()] = service.tags[tag] = job
        return job

    monkeypatch.setattr(execution.JobRequest, "submit", send)
    monkeypatch.setattr(backends, "open_service", lambda: service)
    return service


DEVICE = ("backend=ibm_manila", *FEW, "mitigation=[readout]", "randomizations=2")


def test_jobs_of_a_device_outlive_the_command(runs, tmp_path, service):
    out = tmp_path / "o"
    printed, _ = evaluate(runs["quantum"], *DEVICE, "--no-wait", "--out", out)
    assert "--resume" in printed
    assert len(service.sent) == 2
    assert not (out / "hardware.json").exists()
    service.is_down = True
    code, _, err = call("hardware", runs["quantum"], "--resume", "--out", out)
    assert code == 1
    assert "cannot fetch job" in err
    assert TOKEN not in err
    service.is_down = False
    evaluate(runs["quantum"], "--resume", "--out", out)
    assert len(service.sent) == 2
    labels = [arm["label"] for arm in record(out)["models"][0]["arms"]]
    assert labels == ["exact", "shots", "noise model", "backend", "readout"]
    ids = [arm["job_ids"][0] for arm in record(out)["models"][0]["arms"][3:]]
    assert ids == list(service.sent)


def test_refused_and_expired_jobs_lose_nothing(runs, tmp_path, service):
    out = tmp_path / "o"
    service.refuses = 1
    code, _, err = call("hardware", runs["quantum"], *DEVICE, "--out", out)
    assert code == 1
    assert "did not take the job (quota)" in err
    service.refuses = 0
    service.expired = set(service.sent)
    evaluate(runs["quantum"], "--resume", "--out", out)
    # The expired one was sent again, the refused one for the first time.
    assert len(service.sent) == 3
    assert len(record(out)["models"][0]["arms"]) == 5


def test_the_account_is_asked_for_unknown_names(runs, tmp_path, service):
    code, _, err = call("hardware", runs["quantum"], "backend=ibm_manilla", "--out", tmp_path / "o")
    assert code == 1
    assert "closest: fake_manila" in err
    assert TOKEN not in err
    assert err.strip().count("\n") == len(err.strip().split("\n")) - 1
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("backend=fake_armonk",), 1, r"has 3 qubits, fake_armonk only 1"),
        (
            ("backend=fake_manila", "compilation.max_two_qubit_depth=1"),
            1,
            r"two-qubit depth of 2 .*compilation.max_two_qubit_depth|raise max_two_qubit_depth",
        ),
        (("seed=7",), 1, r"seed 7 was not trained; expected one of 0, 1"),
        (("backend=statevector", "mitigation=[readout]"), 1, r"has no errors to mitigate"),
        (("mitigation=[readout+magic]",), 2, r"mitigation: .*expected one or several of readout"),
        (("shots=5", "precision=0.1"), 2, r"give one of them"),
        (("bakend=aer",), 2, r"unknown key 'bakend'; the closest valid key is 'backend'"),
        (("model=vqc_adam",), 2, r"chooses among the circuits of a folder of aml2026"),
        (("backend=aer", "--no-wait"), 2, r"--no-wait: simulations end with this process"),
        (("--resume",), 2, r"found none"),
        (("--resume", "--out", "nowhere"), 2, r"nowhere: nothing to resume"),
    ],
)
def test_bad_input_is_one_clear_line(runs, tmp_path, monkeypatch, arguments, code, expected):
    monkeypatch.chdir(tmp_path)
    if "--out" not in arguments and "--resume" not in arguments:
        arguments = (*arguments, "--out", tmp_path / "o")
    found, _, err = call("hardware", runs["quantum"], *arguments)
    assert found == code
    assert not (tmp_path / "o").exists()
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(expected, last), last


def test_runs_that_cannot_be_evaluated_are_refused(runs, tmp_path):
    code, _, err = call("hardware", runs["matched"])
    assert code == 1
    assert "model.middle is 'matched', there is no circuit to run" in err
    other = tmp_path / "other"
    shutil.copytree(runs["matched"], other)
    metrics = json.loads((other / "metrics.json").read_text())
    metrics["dataset"]["fingerprint"] = "of other images"
    (other / "metrics.json").write_text(json.dumps(metrics))
    code, _, err = call("hardware", runs["quantum"], f"beside=[{other}]")
    assert code == 1
    assert "other was trained on other images than quantum" in err
    unfinished = tmp_path / "unfinished"
    shutil.copytree(runs["quantum"], unfinished)
    (unfinished / "metrics.json").unlink()
    code, _, err = call("hardware", unfinished)
    assert code == 1
    assert err.startswith("error: ")

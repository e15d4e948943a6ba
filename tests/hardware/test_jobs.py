"""Jobs that outlive the process: nothing is sent twice, nothing collected is lost."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from hqnn_jax.circuits import radhi2025
from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware import execution
from hqnn_jax.hardware.backends import Backend, open_backend
from hqnn_jax.hardware.compilation import compile_for
from hqnn_jax.hardware.execution import estimate, requests
from hqnn_jax.hardware.jobs import JobStore

TOKEN = "not-a-real-token-77aa"


class RuntimeJobNotFound(Exception):
    """As the service raises it."""


class Job:
    """A job of the service, whose values tell which samples it was sent."""

    def __init__(self, service, number, request):
        self.service, self.number, self.request = service, number, request

    def job_id(self):
        return f"job{self.number}"

    def wait_for_final_state(self):
        if self.service.is_down:
            raise ConnectionError(f"no route, token={TOKEN}")

    def status(self):
        return self.service.states.get(self.job_id(), "DONE")

    def result(self):
        evs = self.request.features[:, :2] + self.number
        return [SimpleNamespace(data=SimpleNamespace(evs=evs, stds=np.full_like(evs, 0.1)))]


class Service:
    """What keeps jobs between processes."""

    def __init__(self):
        self.sent, self.tags, self.states = {}, {}, {}
        self.is_down = self.is_full = False

    def submit(self, request, within, tag):
        if self.is_full:
            raise HardwareError("quota")
        job = Job(self, len(self.sent), request)
        self.sent[job.job_id()] = job
        self.tags[tag] = job
        return job

    def jobs(self, *, limit, job_tags):
        if self.is_down:
            raise ConnectionError(f"no route, token={TOKEN}")
        return [self.tags[tag] for tag in job_tags if tag in self.tags][:limit]

    def job(self, job_id):
        if self.is_down:
            raise ConnectionError(f"no route, token={TOKEN}")
        if self.states.get(job_id) == "EXPIRED":
            raise RuntimeJobNotFound(job_id)
        return self.sent[job_id]


@pytest.fixture
def service(monkeypatch):
    service = Service()
    monkeypatch.setattr(
        execution.JobRequest,
        "submit",
        lambda r, within=None, *, tag: service.submit(r, within, tag),
    )
    return service


@pytest.fixture(scope="module")
def local():
    return compile_for(radhi2025(2, 1), open_backend("fake_manila"), num_tries=1)


@pytest.fixture
def parts(local, monkeypatch):
    """Three jobs of two samples for a device."""
    device = Backend("ibm_manila", local.backend.device, is_local=False)
    compiled = compile_for(local.source, device, num_tries=1)
    monkeypatch.setattr(execution, "MAX_EXECUTIONS", 20)
    features = np.arange(12.0).reshape(6, 2) / 10
    return requests(compiled, np.zeros((1, 2)), features, shots=10)


def expected(parts, numbers):
    return np.concatenate(
        [part.features + number for part, number in zip(parts, numbers, strict=True)]
    )


def test_another_process_collects_and_sends_nothing_again(tmp_path, service, parts):
    assert JobStore(tmp_path, service).submit(parts) == ["job0", "job1", "job2"]
    entry = json.loads((tmp_path / f"{parts[1].digest}.json").read_text())
    assert (entry["state"], entry["job_id"], entry["backend"]) == ("sent", "job1", "ibm_manila")
    for _ in range(2):
        store = JobStore(tmp_path, service)
        found = store.collect(parts)
        np.testing.assert_array_equal(found.values, expected(parts, [0, 1, 2]))
        np.testing.assert_array_equal(found.standard_errors, 0.1)
        assert found.job_ids == ("job0", "job1", "job2")
        assert store.states(parts) == ["collected"] * 3
    assert len(service.sent) == 3


@pytest.mark.parametrize("state", ["ERROR", "CANCELLED", "EXPIRED"])
def test_failed_jobs_are_sent_again(tmp_path, service, parts, state):
    JobStore(tmp_path, service).submit(parts)
    service.states["job1"] = state
    store = JobStore(tmp_path, service)
    found = store.collect(parts)
    np.testing.assert_array_equal(found.values, expected(parts, [0, 3, 2]))
    assert found.job_ids == ("job0", "job3", "job2")
    entry = store.entry(parts[1])
    assert entry["attempts"] == 2
    assert entry["failures"][0]["job_id"] == "job1"
    assert state.lower() in entry["failures"][0]["reason"]


def test_what_fails_twice_is_an_error_and_the_rest_is_kept(tmp_path, service, parts):
    service.states |= {"job1": "ERROR", "job3": "ERROR"}
    with pytest.raises(HardwareError, match=r"job3 on ibm_manila failed .error."):
        JobStore(tmp_path, service).collect(parts)
    store = JobStore(tmp_path, service)
    assert store.states(parts) == ["collected", "failed", "sent"]
    np.testing.assert_array_equal(store.collect(parts).values, expected(parts, [0, 4, 2]))


def test_a_failing_network_loses_nothing(tmp_path, service, parts):
    store = JobStore(tmp_path, service)
    store.submit(parts)
    store.collect(parts[:1])
    service.is_down = True
    for process in (store, JobStore(tmp_path, service)):
        with pytest.raises(
            HardwareError, match=r"cannot fetch job job1 .ConnectionError"
        ) as caught:
            process.collect(parts)
        assert TOKEN not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert process.states(parts) == ["collected", "sent", "sent"]
    service.is_down = False
    found = JobStore(tmp_path, service).collect(parts)
    np.testing.assert_array_equal(found.values, expected(parts, [0, 1, 2]))
    assert len(service.sent) == 3
    assert not any(TOKEN in path.read_text() for path in tmp_path.glob("*.json"))


def test_a_refused_job_is_sent_when_there_is_room(tmp_path, service, parts):
    store = JobStore(tmp_path, service)
    store.submit(parts[:2])
    service.is_full = True
    with pytest.raises(HardwareError, match="quota"):
        store.submit(parts)
    assert store.states(parts) == ["sent", "sent", "failed"]
    service.is_full = False
    assert store.submit(parts) == ["job0", "job1", "job2"]


@pytest.mark.parametrize("was_sent", [True, False])
def test_a_job_whose_id_was_not_noted_is_found_by_its_tag(
    tmp_path, service, parts, monkeypatch, was_sent
):
    def stopped(request, within=None, *, tag):
        if was_sent:
            service.submit(request, within, tag)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(execution.JobRequest, "submit", stopped)
        with pytest.raises(KeyboardInterrupt):
            JobStore(tmp_path, service).submit(parts[:1])
    service.is_down = True
    with pytest.raises(HardwareError, match=r"cannot be asked whether it exists .Connection") as e:
        JobStore(tmp_path, service).submit(parts[:1])
    assert TOKEN not in str(e.value)
    service.is_down = False
    found = JobStore(tmp_path, service).collect(parts[:1])
    assert len(service.sent) == 1
    assert found.job_ids == ("job0",)


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


PAIR = {"values": np.zeros((2, 2)), "standard_errors": np.zeros((2, 2))}


@pytest.mark.parametrize(
    "content",
    [
        b"damaged",
        b"",
        b"PK\x03\x04 cut",
        npz(**PAIR)[:-30],
        npz(**PAIR)[:200] + bytes([npz(**PAIR)[200] ^ 1]) + npz(**PAIR)[201:],
        npz(values=np.zeros((2, 2))),
        npz(**PAIR | {"values": np.zeros((3, 2))}),
        npz(values=np.zeros((5, 2)), standard_errors=np.zeros((5, 2))),
        npz(**PAIR | {"values": np.array([["a", "b"]] * 2)}),
    ],
)
def test_damaged_values_are_named(tmp_path, service, parts, content):
    store = JobStore(tmp_path, service)
    store.collect(parts[:1])
    path = tmp_path / f"{parts[0].digest}.npz"
    path.write_bytes(content)
    with pytest.raises(HardwareError, match=r"\.npz: .*the collected values are damaged") as error:
        store.collect(parts[:1])
    assert "\n" not in str(error.value)
    assert path.read_bytes() == content
    assert len(service.sent) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "{",
        lambda text: "",
        lambda text: "[]",
        lambda text: "[" * 5000,
        lambda text: text.replace('"collected"', '"colected"'),
        lambda text: text.replace('"job_id"', '"jobid"'),
        lambda text: text.replace('"job0"', "null"),
        lambda text: text.replace('"seconds"', '"secs"'),
        lambda text: text.replace('"failures": []', '"failures": 3'),
    ],
)
def test_a_damaged_entry_is_named_and_nothing_sent_again(tmp_path, service, parts, change):
    store = JobStore(tmp_path, service)
    store.collect(parts[:1])
    path = tmp_path / f"{parts[0].digest}.json"
    damaged = change(path.read_text())
    assert damaged != path.read_text()
    path.write_text(damaged)
    with pytest.raises(HardwareError, match=r"\.json: .*the job's entry is damaged") as error:
        store.collect(parts[:1])
    assert "\n" not in str(error.value)
    assert path.read_text() == damaged
    assert len(service.sent) == 1


def test_local_backends_go_the_same_way(tmp_path, local):
    weights, features = np.array([[0.3, 1.2]]), np.array([[0.1, -0.4], [1.5, 0.2], [0.7, 0.9]])
    asked = requests(local, weights, features, shots=100, seed=4)
    JobStore(tmp_path).submit(asked)
    # The simulation ended with its process; the next one makes it again.
    store = JobStore(tmp_path)
    found = store.collect(asked)
    direct = estimate(local, weights, features, shots=100, seed=4)
    np.testing.assert_array_equal(found.values, direct.values)
    np.testing.assert_array_equal(found.standard_errors, direct.standard_errors)
    assert store.entry(asked[0])["attempts"] == 2
    np.testing.assert_array_equal(JobStore(tmp_path).collect(asked).values, direct.values)
    assert store.entry(asked[0])["attempts"] == 2

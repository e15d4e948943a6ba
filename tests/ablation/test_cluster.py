"""Work on a real Ray cluster: the same results as here, and every way it can go wrong."""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.ablation import cluster
from hqnn_jax.ablation.cluster import Resources, run_on_ray
from hqnn_jax.errors import ConfigurationError, TrainingError

pytest.importorskip("ray")

HERE, ONE_CPU = sys.modules[__name__], Resources()


def train(seed: int) -> bytes:
    """A few steps of training with reductions long enough for threads to divide them."""
    key = jax.random.key(seed)
    inputs = jax.random.normal(key, (64, 300))
    weights = jax.random.normal(jax.random.fold_in(key, 1), (300, 200))

    @jax.jit
    def step(weights):
        return weights - 0.1 * jax.grad(lambda w: jnp.mean(jnp.tanh(inputs @ w) ** 2))(weights)

    for _ in range(3):
        weights = step(weights)
    return np.asarray(weights).tobytes()


def one_fails(piece: str) -> bytes:
    if piece == "user":
        raise ConfigurationError("model.circuit: too many\nqubits")
    if piece == "bug":
        return bytes({}["key"])
    return piece.encode()


def die_once(marker: Path) -> bytes:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return b"second life"


def die(piece: str) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def environment(piece: str) -> bytes:
    names = ("XLA_PYTHON_CLIENT_PREALLOCATE",)
    return json.dumps({name: os.environ.get(name) for name in names}).encode()


def wait_for_ever(folder: Path) -> bytes:
    """Say that work has begun, then hang; the name of the folder's other file ends it."""
    (folder / "begun").touch()
    threading.Event().wait(300)
    (folder / "ended").touch()
    return b""


@pytest.fixture(scope="module", autouse=True)
def importable():
    """Workers cannot import test modules: their functions travel by value."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(HERE)
    yield
    cloudpickle.unregister_pickle_by_value(HERE)


@pytest.fixture(scope="module")
def address():
    """A cluster of one node with two CPUs and a tenth of a gibibyte."""
    from ray.cluster_utils import Cluster

    node = {
        "num_cpus": 2,
        "num_gpus": 1,
        "memory": 100 * 2**20,
        "object_store_memory": 80 * 2**20,
        "include_dashboard": False,
    }
    try:
        running = Cluster(initialize_head=True, head_node_args=node)
    except Exception:  # a busy machine misses Ray's limit for its first start
        running = Cluster(initialize_head=True, head_node_args=node)
    yield running.address
    running.shutdown()


def results_of(address, work, perform, resources=ONE_CPU) -> dict:
    found = {}

    def keep(piece, content):
        assert piece not in found
        found[piece] = content

    run_on_ray(address, work, perform, resources, keep)
    return found


def test_results_are_those_of_this_process(address):
    assert results_of(address, range(4), train) == {seed: train(seed) for seed in range(4)}


def test_a_failure_does_not_keep_others_from_finishing(address):
    found = {}
    with pytest.raises(TrainingError) as error:
        run_on_ray(address, ["bug", "a", "user", "b"], one_fails, ONE_CPU, found.__setitem__)
    assert found == {"a": b"a", "b": b"b"}
    text = str(error.value)
    assert text.startswith("2 of 4 tasks failed, the first: bug: KeyError at test_cluster.py:")
    with pytest.raises(TrainingError, match=r"^user: model\.circuit: too many qubits; finished"):
        run_on_ray(address, ["user"], one_fails, ONE_CPU, found.__setitem__)


@pytest.mark.slow
def test_work_of_a_dead_worker_is_done_again_but_not_for_ever(address, tmp_path):
    piece = tmp_path / "marker"
    assert results_of(address, [piece], die_once) == {piece: b"second life"}
    with pytest.raises(TrainingError, match=r"^doomed: its Ray worker died, 3 times") as error:
        results_of(address, ["doomed"], die)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("num_gpus", "preallocate"), [(0.5, "false"), (1.0, None)])
def test_tasks_that_share_a_gpu_leave_it_memory(address, monkeypatch, num_gpus, preallocate):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)
    resources = Resources(num_cpus=0.5, num_gpus=num_gpus)
    found = json.loads(results_of(address, ["a"], environment, resources)["a"])
    assert found == {"XLA_PYTHON_CLIENT_PREALLOCATE": preallocate}


def test_an_error_with_a_result_cancels_what_is_left(address, tmp_path):
    handler = signal.getsignal(signal.SIGTERM)

    def mixed(piece):
        return b"" if piece == "quick" else wait_for_ever(tmp_path)

    def interrupt(piece, content):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_ray(address, ["quick", "slow"], mixed, ONE_CPU, interrupt)
    assert not (tmp_path / "ended").exists()
    assert signal.getsignal(signal.SIGTERM) is handler
    # Both CPUs are free again.
    assert results_of(address, ["a"], one_fails, Resources(num_cpus=2)) == {"a": b"a"}


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        (Resources(num_cpus=3), "no node has 3 CPUs, 0 GPUs for one task; 1 nodes, "),
        (
            Resources(num_gpus=2),
            "the largest with 2 CPUs, 1 GPUs, 0.0977 GiB of memory; ask for less",
        ),
        (Resources(memory=2**30), "1 CPUs, 0 GPUs, 1 GiB of memory for one task"),
    ],
)
def test_resources_that_no_node_has(address, resources, text):
    with pytest.raises(ConfigurationError) as error:
        results_of(address, ["a"], one_fails, resources)
    assert text in str(error.value)


def test_workers_of_another_version(address, monkeypatch):
    here = cluster._versions()
    monkeypatch.setattr(cluster, "_versions", lambda: {**here, "jax": "0.0.1"})
    with pytest.raises(TrainingError, match=r"^Ray: jax is [\d.]+ on .*, 0.0.1 here; install"):
        results_of(address, ["a", "b"], one_fails)


@pytest.mark.slow
def test_a_local_cluster_is_started_again_and_lives_as_long_as_the_call(monkeypatch):
    import ray

    start, late = ray.init, [RuntimeError("timed out")]

    def late_once(**options):
        if late:
            raise late.pop()
        return start(**options)

    monkeypatch.setattr(ray, "init", late_once)
    assert results_of("local", ["a"], one_fails) == {"a": b"a"}
    assert not ray.is_initialized()
    late += [RuntimeError("timed\nout")] * 2
    with pytest.raises(ConfigurationError, match=r"^--ray local: cannot .*: timed out; free"):
        results_of("local", ["a"], one_fails)


def test_addresses_that_cannot_be_reached(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, but nobody listens
        port = unused.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            with pytest.raises(ConfigurationError, match="nobody answers there") as error:
                results_of(address, ["a"], one_fails)
            assert f"--ray {address}: " in str(error.value)
            assert "\n" not in str(error.value)
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        with pytest.raises(ConfigurationError, match=f"--ray 127.0.0.1:{port}: nobody"):
            results_of("auto", ["a"], one_fails)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n"])
def test_an_address_where_something_else_answers(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed
                    return
                with connection, contextlib.suppress(OSError):
                    connection.recv(100)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ConfigurationError, match="what answers there is not Ray"):
            results_of(f"127.0.0.1:{server.getsockname()[1]}", ["a"], one_fails)
        server.shutdown(socket.SHUT_RDWR)  # ends `accept`
        thread.join()


@pytest.mark.parametrize("address", ["nonsense", "http://localhost:1", "localhost:99999", ":6379"])
def test_what_is_no_address(address):
    with pytest.raises(ConfigurationError, match="expected auto, local, host:port or ray://"):
        results_of(address, ["a"], one_fails)


def test_no_work_needs_no_cluster():
    assert results_of("nonsense", [], one_fails) == {}


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r"pip install hqnn-jax\[ray\]"):
        results_of("local", ["a"], one_fails)

"""The choice of the engine: what applies, what is evaluated, and what measurements say of it."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pennylane as qml
import pytest

from hqnn_jax.benchmarks.measure import GRADIENT
from hqnn_jax.benchmarks.rows import make_circuit
from hqnn_jax.circuits import Circuit, radhi2025, strongly_entangling
from hqnn_jax.circuits.engines import auto
from hqnn_jax.circuits.engines.cost import RATES
from hqnn_jax.circuits.noise.channels import depolarizing
from hqnn_jax.circuits.noise.model import NoiseModel
from hqnn_jax.errors import CircuitError

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
BATCHES = (1, 7, 32, 1024, 100_000)
NOISE = NoiseModel(two_qubit=(depolarizing(0.01),))
# How much slower than the fastest the chosen engine may be.
MARGIN = 1.5


@functools.cache
def reuploading() -> Circuit:
    def function(features, weights):
        for layer in range(3):
            qml.AngleEmbedding(features, wires=range(3), rotation="Y")
            qml.BasicEntanglerLayers(weights[layer : layer + 1], wires=range(3))
        return qml.expval(qml.Z(1))

    return Circuit.from_function(function, num_qubits=3, num_features=3, weights_shape=(3, 3))


@pytest.mark.parametrize("backend", RATES)
def test_reuploading_is_never_folded(backend):
    for batch in BATCHES:
        assert auto.choose(reuploading(), batch, backend) == "statevector"


@pytest.mark.parametrize("backend", RATES)
def test_noise_is_left_to_the_pauli_basis(backend):
    for circuit in (reuploading(), radhi2025(3, 1)):
        for batch in BATCHES:
            assert auto.choose(circuit.with_noise(NOISE), batch, backend) == "pauli_transfer"


def test_a_model_without_noise_changes_no_choice():
    for batch in BATCHES:
        found = auto.choose(reuploading().with_noise(NoiseModel()), batch, "cpu")
        assert found == auto.choose(reuploading(), batch, "cpu")


def test_noise_on_too_many_qubits_is_refused_when_built():
    noisy = strongly_entangling(13, 1).with_noise(NOISE)
    for refuse in (lambda: auto.choose(noisy, 1), noisy.to_jax):
        with pytest.raises(CircuitError, match=r"no engine applies.*'pauli_transfer': .*traject"):
            refuse()


@pytest.mark.parametrize("backend", RATES)
def test_many_qubits_are_never_folded(backend):
    circuit = strongly_entangling(14, 1)
    for batch in BATCHES:
        assert auto.choose(circuit, batch, backend) == "statevector"


def test_folding_pays_for_large_batches():
    circuit = strongly_entangling(4, 6)
    assert auto.choose(circuit, 2**20, "cpu") in ("unitary", "pauli_transfer")
    # Seven wires fold into 2^14 numbers, a single sample has 2^7.
    assert auto.choose(strongly_entangling(7, 6), 1, "cpu") == "statevector"


def program(circuit: Circuit, engine: str, batch: int) -> str:
    return circuit.to_jax(engine).lower(
        jax.ShapeDtypeStruct(circuit.weights_shape, jnp.float32),
        jax.ShapeDtypeStruct((batch, circuit.num_features), jnp.float32),
    ).as_text()  # fmt: skip


@pytest.mark.parametrize("chosen", ["statevector", "unitary", "pauli_transfer"])
def test_auto_is_the_chosen_engine(monkeypatch, chosen):
    circuit = strongly_entangling(3, 2)
    asked = []

    def choose(circuit, batch, backend=None):
        asked.append(batch)
        return chosen

    monkeypatch.setattr(auto, "choose", choose)
    assert program(circuit, "auto", 5) == program(circuit, chosen, 5)
    assert asked[-1] == 5


def test_auto_chooses_for_every_batch_anew(monkeypatch):
    circuit = strongly_entangling(3, 2)
    by_batch = {4: "unitary", 9: "statevector"}
    monkeypatch.setattr(auto, "choose", lambda circuit, batch: by_batch.get(batch, "unitary"))
    evaluate = circuit.to_jax()
    for batch, engine in by_batch.items():
        weights = jnp.arange(circuit.num_weights, dtype=jnp.float32).reshape(circuit.weights_shape)
        features = jnp.sin(jnp.arange(3.0 * batch)).reshape(batch, 3)
        expected = circuit.to_jax(engine)(weights, features)
        # The same program, therefore the same bits.
        assert jnp.array_equal(evaluate(weights, features), expected)
    assert evaluate._cache_size() == len(by_batch)


def measured_rows() -> list[tuple[str, dict]]:
    """Rows of all benchmarks on CPU with at least two engines, with the name of their file."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        document = json.loads(path.read_text())
        if document["machine"]["accelerator"] is None:
            rows += [(path.name, row) for row in document["rows"] if len(medians(row)) > 1]
    return rows


def medians(row: dict) -> dict[str, float]:
    """Seconds of value and gradient by engine that `auto` may choose."""
    return {
        contender["name"]: contender[GRADIENT]["median_s"]
        for contender in row["contenders"]
        if contender["kind"] == "engine"
        and contender["status"] == "timed"
        and contender["name"] in ("statevector", "unitary", "pauli_transfer")
    }


def misjudged(rows: list[tuple[str, dict]]) -> list[str]:
    """Rows on which the chosen engine is slower than the fastest by more than the margin."""
    make = functools.cache(make_circuit)
    found = []
    for name, row in rows:
        seconds = medians(row)
        chosen = auto.choose(make(row["circuit"]), row["batch"], "cpu")
        where = f"{name}: {row['circuit']}, batch {row['batch']}: '{chosen}'"
        best = min(seconds, key=lambda engine: seconds[engine])
        if chosen not in seconds:
            found.append(f"{where} was not timed")
        elif seconds[chosen] > MARGIN * seconds[best]:
            ratio = seconds[chosen] / seconds[best]
            found.append(f"{where} takes {ratio:.2f} times as long as '{best}'")
    return found


def test_choices_are_near_the_fastest_measured():
    rows = measured_rows()
    if not rows:
        pytest.skip(f"no benchmark of several engines on CPU in {RESULTS}")
    wrong = misjudged(rows)
    assert not wrong, "\n".join(wrong)


def test_a_wrong_choice_is_noticed():
    def row(batch: int, **seconds: float) -> tuple[str, dict]:
        contenders = [
            {"kind": "engine", "name": name, "status": "timed", GRADIENT: {"median_s": median}}
            for name, median in seconds.items()
        ]
        return "made up", {"circuit": "sel3x2", "batch": batch, "contenders": contenders}

    chosen = auto.choose(make_circuit("sel3x2"), 64, "cpu")
    other = next(name for name in ("statevector", "unitary") if name != chosen)
    assert misjudged([row(64, **{chosen: 1.4, other: 1.0})]) == []
    (line,) = misjudged([row(64, **{chosen: 1.6, other: 1.0})])
    assert line.endswith(f"batch 64: '{chosen}' takes 1.60 times as long as '{other}'")

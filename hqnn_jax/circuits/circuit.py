"""A circuit as its users see it: made from a function, evaluated, sampled, exported, drawn."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, overload

import jax
import jax.numpy as jnp
import pennylane as qml
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.figure import Figure

from hqnn_jax.circuits import engines
from hqnn_jax.circuits.capture.quantum_function import QuantumFunction, capture
from hqnn_jax.circuits.checks import check_count, check_shape
from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.drawing.diagram import draw_figure, draw_text
from hqnn_jax.circuits.sampling.shots import sampler
from hqnn_jax.circuits.specs import CircuitSpecs, specs_of
from hqnn_jax.errors import CircuitError

if TYPE_CHECKING:
    import qiskit

    import hqnn_jax.circuits.exchange.to_qiskit


class Circuit(Definition):
    """A parameterised quantum circuit; see `Definition` for what it is made of.

    Make one with `Circuit.from_function`. Wire 0 is the most significant bit, as in PennyLane.
    """

    @classmethod
    def from_function(
        cls,
        function: QuantumFunction,
        *,
        num_qubits: SupportsIndex,
        num_features: SupportsIndex,
        weights_shape: Sequence[SupportsIndex],
        name: str | None = None,
    ) -> "Circuit":
        """Capture a PennyLane quantum function.

        Args:
            function: `function(features, weights)` of one sample, with features of shape
                [num_features] and weights of shape `weights_shape`. It queues gates and templates
                and returns `qml.expval` of Pauli words or of their real combinations,
                `qml.probs(wires=...)` of at most 8 wires, or a list of these. Which gates it
                applies must not depend on values of features or weights. Indices known beforehand
                are those of NumPy; one that depends on features or weights is JAX's, whose
                `x[i]` takes the nearest element where i is out of range.
            num_qubits: number of qubits; wires are 0 to num_qubits - 1.
            num_features: number of features of one sample; 0 for a circuit without data.
            weights_shape: shape of the weights.
            name: name for messages and reports; the function's name if not given.

        Raises:
            CircuitError: a size is not an integer or too small, or the function cannot be
                captured (mid-circuit measurement, sampling, a gate without decomposition, a wire
                or an index out of range, no measurement, a gate choice that depends on inputs);
                the message names the operation and the reason.
        """
        name = name or str(getattr(function, "__name__", "circuit"))
        where = f"Circuit '{name}'"
        qubits = check_count(where, "num_qubits", num_qubits, 1)
        length = check_count(where, "num_features", num_features, 0)
        shape = check_shape(where, "weights_shape", weights_shape)
        captured = capture(
            function, name=name, num_qubits=qubits, num_features=length, weights_shape=shape
        )
        return cls(
            name=name,
            num_qubits=qubits,
            num_features=length,
            weights_shape=shape,
            gates=captured.gates,
            observables=captured.observables,
            angles=captured.angles,
            function=function,
        )

    def to_jax(
        self, engine: str = "auto", *, mesh: jax.sharding.Mesh | None = None
    ) -> Callable[[ArrayLike, ArrayLike], Float[Array, "*batch outputs"]]:
        """Return the circuit as a compiled pure function of a batch, or of one sample.

        The function is `f(weights[weights_shape], features[batch, num_features]) ->
        [batch, num_outputs]`, to be used under `jit`, `vmap` and any order of `grad`. Of features
        [num_features] the outputs are [num_outputs]. With `noise`, they are the exact ones of the
        noisy circuit (density matrix). Its arithmetic and output have the promoted dtype of the
        inputs, float32 at least: bfloat16 inputs are computed in float32. Angles are in radians. It
        raises CircuitError for inputs of the wrong shape and for complex ones. A batch may be
        empty.

        Args:
            engine: how to evaluate, one of `hqnn_jax.circuits.engines.ENGINES`; `auto` picks the
                fastest that applies, by an estimate for the batch.
            mesh: devices to spread each state over, with the engine `statevector`; see
                `hqnn_jax.circuits.engines.sharded.build`.

        From 12 qubits on, gradients of `statevector` are adjoint ones, which have no forward mode;
        `hqnn_jax.circuits.engines.statevector.build(circuit, adjoint=False)` has it.

        Raises:
            CircuitError: there is no such engine, or it does not apply to the circuit.
        """
        evaluate = engines.build(self, engine, mesh)

        def evaluate_batch(
            weights: ArrayLike, features: ArrayLike
        ) -> Float[Array, "batch outputs"]:
            weights, features = self.checked_inputs(weights, features)
            if features.shape[0] == 0:
                return self.no_outputs(weights)
            return evaluate(weights, features)

        return jax.jit(self._of_one_or_many(evaluate_batch))

    def to_sampler(
        self, shots: int
    ) -> Callable[[PRNGKeyArray, ArrayLike, ArrayLike], Float[Array, "*batch outputs"]]:
        """Return `f(key, weights, features[batch, num_features]) -> [batch, num_outputs]`.

        Of features [num_features] the outputs are [num_outputs]. They are unbiased estimates from
        `shots` measurements of each group of commuting words; see
        `hqnn_jax.circuits.sampling.shots.sampler`.

        Raises:
            CircuitError: `shots` is not an integer or less than 1.
        """
        draw = sampler(self, shots)

        def sample(
            key: PRNGKeyArray, weights: ArrayLike, features: ArrayLike
        ) -> Float[Array, "*batch outputs"]:
            return self._of_one_or_many(partial(draw, key))(weights, features)

        return sample

    def _of_one_or_many(
        self, evaluate: Callable[[ArrayLike, ArrayLike], Float[Array, "batch outputs"]]
    ) -> Callable[[ArrayLike, ArrayLike], Float[Array, "*batch outputs"]]:
        """Let a function of a batch take one sample, too."""

        def evaluate_samples(
            weights: ArrayLike, features: ArrayLike
        ) -> Float[Array, "*batch outputs"]:
            if jnp.shape(features) != (self.num_features,):
                return evaluate(weights, features)
            return evaluate(weights, jnp.asarray(features)[None])[0]

        return evaluate_samples

    def to_qiskit(
        self, *, precompute: bool = False
    ) -> "hqnn_jax.circuits.exchange.to_qiskit.QiskitCircuit":
        """Return the ideal circuit for Qiskit, with features and weights as parameters.

        See `hqnn_jax.circuits.exchange.to_qiskit.to_qiskit`. Needs the extra `qiskit`.
        """
        from hqnn_jax.circuits.exchange.to_qiskit import to_qiskit

        return to_qiskit(self, precompute=precompute)

    def to_openqasm3(self, *, precompute: bool = False) -> str:
        """Return the ideal circuit as OpenQASM 3, with features and weights as inputs.

        See `hqnn_jax.circuits.exchange.openqasm.to_openqasm3`. Needs the extra `qiskit`.
        """
        from hqnn_jax.circuits.exchange.openqasm import to_openqasm3

        return to_openqasm3(self, precompute=precompute)

    @staticmethod
    def from_qiskit(
        quantum_circuit: "qiskit.QuantumCircuit", observables: Any, **inputs: Any
    ) -> "Circuit":
        """Capture a Qiskit circuit; see `hqnn_jax.circuits.exchange.from_qiskit.read_qiskit`.

        Needs the extra `qiskit`.
        """
        from hqnn_jax.circuits.exchange.from_qiskit import read_qiskit

        return Circuit.from_function(
            **read_qiskit(quantum_circuit, observables, **inputs)._asdict()
        )

    def to_qnode(self, device: Any = None, *, interface: str = "jax", **options: Any) -> qml.QNode:
        """Return the ideal circuit as a PennyLane QNode of `(weights, features[num_features])`.

        It returns what the quantum function measures, a list where that is a list.

        Args:
            device: a device of PennyLane, or the name of one, which is made with `num_qubits`
                wires; `default.qubit` if not given.
            interface: what inputs and outputs are arrays of; see `pennylane.QNode`.
            options: of the QNode, for example `diff_method="parameter-shift"`.
        """
        if device is None or isinstance(device, str):
            device = qml.device(device or "default.qubit", wires=self.num_qubits)

        def quantum_function(weights: Any, features: Any) -> Any:
            return self.function(features, weights)

        quantum_function.__name__ = self.name
        return qml.QNode(quantum_function, device, interface=interface, **options)

    def specs(self) -> CircuitSpecs:
        """Return depth, counts of gates, and numbers of qubits, features, weights and outputs."""
        return specs_of(self)

    @overload
    def draw(self, style: Literal["mpl"] = "mpl") -> Figure: ...
    @overload
    def draw(self, style: Literal["text"]) -> str: ...
    def draw(self, style: str = "mpl") -> Figure | str:
        """Draw the circuit as written, with templates expanded.

        Labels say what each angle is: `x[0]` is a feature, `w[1,2]` a weight.

        Args:
            style: `mpl` for a matplotlib figure, in which colours tell data and weights apart;
                `text` for lines of text.

        Raises:
            CircuitError: there is no such style.
        """
        if style not in ("mpl", "text"):
            raise CircuitError(f"draw({style!r}): expected 'mpl' or 'text'")
        return draw_text(self) if style == "text" else draw_figure(self)

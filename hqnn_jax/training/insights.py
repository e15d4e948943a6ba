"""What is measured of a model in training, beside loss and accuracy: gradients and its circuit.

Everything is a pure function of a model's variables and of probe examples, so that one program
measures all seeds of a study.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from hqnn_jax import keys
from hqnn_jax.circuits import Circuit, analysis
from hqnn_jax.circuits.analysis.sampling import map_chunks
from hqnn_jax.circuits.engines import statevector
from hqnn_jax.config import Config
from hqnn_jax.config.training import InsightName
from hqnn_jax.errors import CircuitError, ConfigurationError
from hqnn_jax.models.groups import GROUPS, parameter_groups
from hqnn_jax.models.middles import build_middle_circuit
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.training.state import TrainState, initial_state
from hqnn_jax.training.step import Examples, Task

NUM_BATCHES = 8
"""Minibatches over which the mean and the variance of the gradient are taken."""
NUM_PROBES = 64
"""Training examples the circuit is measured with."""
MAX_QUBITS = 12
"""Largest circuit that is measured."""
MAX_INPUT_FREQUENCIES = 4096
"""Largest Fourier series in the features that is computed."""

Measurements = dict[str, Float[Array, ""]]


@dataclasses.dataclass(frozen=True)
class Insights:
    """The static structure behind `measure`: which insights, of which model and circuit.

    `training.insights` chooses among the following; what is measured is named as in the history.

    `gradients`: the gradient of the training loss as a training step computes it (augmentation,
    dropout and batch statistics included; before clipping and weight decay), on `NUM_BATCHES`
    minibatches, each drawn independently from the training examples. For every group of parameters
    (backbone, circuit, classical) that has any:

    - `gradient_norm/GROUP`: Euclidean norm of the mean gradient over the minibatches.
    - `gradient_variance/GROUP`: variance of a component of the gradient over the minibatches
      (unbiased), averaged over the components of the group.

    The others are of the circuit at its current weights w, on the angles x that the network gives
    it (no augmentation, no dropout) for `NUM_PROBES` training examples. They are left out where the
    middle is not a circuit. The first two are of the ideal circuit's states also where it has
    noise; the last two are of the circuit as it is trained.

    - `entangling_capability`: mean Meyer–Wallach measure Q of the states |ψ(x, w)⟩ over the probes;
      0 for product states, at most 1. Sim et al., arXiv:1905.10876, average over random
      weights instead.
    - `expressibility`: D_KL(histogram of |⟨ψ(x, w)|ψ(y, w)⟩|² || Haar) in nats, over all pairs of
      different probes, with 75 bins: as Sim et al. define it, for pairs of inputs the circuit sees
      instead of pairs of random weights. 0 means that it spreads its inputs like uniformly
      distributed states, (2^n - 1) log 75 that it maps all to one state. Gates behind the last one
      that reads features do not change it.
    - `effective_dimension`: the normalised local effective dimension of Abbas et al.
      (arXiv:2112.04807; see `analysis.local_effective_dimension`) with γ = 1. The statistical model
      is that of the whole network, the probabilities of the classes given x, in the circuit's
      weights; its Fisher information is averaged over the probes, and n is the number of training
      examples of an epoch.
    - `fourier_spectrum/degree_K`: share of the outputs' power at the K-th multiple of a weight's
      base frequency, each output as a function of one weight with all else held fixed; power is
      summed over outputs, probes and weights (see `analysis.build_weight_power`). Share 0 is what
      does not depend on a single weight; K = 1 is all else where each weight is the angle of one
      rotation.
    - `fourier_spectrum/input_degree_K`: share of the outputs' power in the terms of total degree
      K = Σ_i |ω_i| / base_i of their Fourier series Σ_ω c_ω(w) exp(i ω·x) in the features (see
      `fourier_spectrum` in `hqnn_jax.circuits.analysis`), summed over outputs. Only where there is
      such a series, with frequencies that do not depend on the weights, of at most
      `MAX_INPUT_FREQUENCIES` terms.
    """

    names: tuple[InsightName, ...]
    task: Task
    middle: str
    circuit: CircuitInsights | None

    @classmethod
    def of(cls, config: Config, task: Task) -> Insights:
        """Return the insights that `config.training.insights` asks for.

        Args:
            config: the configuration, with the circuit's present size where it grows.
            task: the structure of training.

        Raises:
            ConfigurationError: if one cannot be had of this circuit or with so few training
                examples.
        """
        names = tuple(dict.fromkeys(config.training.insights))
        of_circuit = [name for name in names if name != "gradients"]
        circuit = build_middle_circuit(config.model) if of_circuit else None
        measured = None
        if circuit is not None:
            num_data = task.steps_per_epoch * config.training.batch_size
            measured = CircuitInsights.of(of_circuit, circuit, task.model, num_data)
        return cls(names, task, config.model.middle, measured)

    @property
    def num_examples(self) -> int:
        """How many training examples are needed: of more, some are drawn."""
        return max(NUM_BATCHES * self.task.training.batch_size, NUM_PROBES)

    def measure_state(
        self,
        state: TrainState,
        examples: Examples,
        rows: Int[Array, "num_rows"],
        class_weights: Float[Array, "num_classes"],
    ) -> Measurements:
        """Measure a state in training, on the same examples in every epoch of a seed."""
        key = keys.insights(state.key)
        return self.measure(state.variables, examples, rows, class_weights, key)

    def measure(
        self,
        variables: Variables,
        examples: Examples,
        rows: Int[Array, "num_rows"],
        class_weights: Float[Array, "num_classes"],
        key: Key[Array, ""],
    ) -> Measurements:
        """Return name -> value; a pure function, under `jit` and under `vmap` over seeds.

        With the same key the same examples are drawn, so that epochs can be compared.

        Args:
            variables: of the model in training.
            examples: the training examples, or as many of them as there is room for.
            rows: positions of those that are trained on, at least `training.batch_size`.
            class_weights: weight of each class in the loss.
            key: decides which examples are drawn, their augmentation and dropout.
        """
        gradients_key, probes_key = jax.random.split(key)
        found: Measurements = {}
        if "gradients" in self.names:
            found |= self._gradients(variables, examples, rows, class_weights, gradients_key)
        if self.circuit is not None:
            chosen = _drawn(probes_key, rows, min(NUM_PROBES, rows.shape[0]))
            inputs = self.task.preprocessing(examples.inputs[chosen])
            found |= self.circuit.measure(variables, inputs)
        return found

    def _gradients(
        self,
        variables: Variables,
        examples: Examples,
        rows: Int[Array, "num_rows"],
        class_weights: Float[Array, "num_classes"],
        key: Key[Array, ""],
    ) -> Measurements:
        # The training step itself, with an optimiser that does nothing but keep the gradient.
        recorder = optax.GradientTransformation(
            init=optax.tree.zeros_like,
            update=lambda gradient, _, params=None: (optax.tree.zeros_like(gradient), gradient),
        )
        task = dataclasses.replace(self.task, optimizer=recorder)
        rows_key, step_key = jax.random.split(key)
        state = initial_state(variables, recorder, task.plateau, step_key, keep_average=False)

        def add(carry: tuple[PyTree, PyTree], index: Int[Array, ""]) -> tuple[tuple, None]:
            # Welford's algorithm: a difference of large sums would lose a small variance.
            mean, squares = carry
            size = task.training.batch_size
            chosen = _drawn(jax.random.fold_in(rows_key, index), rows, size)
            batch = examples.at(chosen)
            after = task.train_batch(state._replace(step=index), batch, class_weights)
            change = jax.tree.map(jnp.subtract, after.optimizer_state, mean)
            mean = jax.tree.map(lambda m, d: m + d / (index + 1), mean, change)
            rest = jax.tree.map(jnp.subtract, after.optimizer_state, mean)
            return (mean, jax.tree.map(lambda s, d, r: s + d * r, squares, change, rest)), None

        zeros = optax.tree.zeros_like(variables.params)
        # XLA's CPU convolutions lose their fast path in loops: many times slower.
        unroll = jax.default_backend() == "cpu" and examples.inputs.ndim > 2
        (mean, squares), _ = jax.lax.scan(
            add, (zeros, zeros), jnp.arange(NUM_BATCHES, dtype=jnp.int32), unroll=unroll
        )
        return _by_group(mean, squares, self.middle)


def _drawn(key: Key[Array, ""], rows: Int[Array, "num_rows"], count: int) -> Int[Array, "count"]:
    return jax.random.choice(key, rows, (count,), replace=False)


def _by_group(mean: PyTree, squares: PyTree, middle: str) -> Measurements:
    """Norm of the mean and mean of the variances, for each group that has parameters."""
    labels = jax.tree.leaves(parameter_groups(mean, middle))
    parts = list(zip(labels, jax.tree.leaves(mean), jax.tree.leaves(squares), strict=True))
    found: Measurements = {}
    for group in GROUPS:
        own = [(m, s) for label, m, s in parts if label == group]
        size = sum(m.size for m, _ in own)
        if size == 0:
            continue
        total = sum(jnp.sum(s) for _, s in own)
        found[f"gradient_norm/{group}"] = jnp.sqrt(sum(jnp.sum(m**2) for m, _ in own))
        found[f"gradient_variance/{group}"] = total / (size * (NUM_BATCHES - 1))
    return found


@dataclasses.dataclass(frozen=True)
class CircuitInsights:
    """The static structure behind the insights of a circuit; see `Insights`.

    Each measurement is a function of (weights, angles[probes, num_features]), and what it depends
    on beside them.
    """

    names: tuple[InsightName, ...]
    model: Model
    circuit: Circuit
    num_data: int
    weight_power: Callable[..., Float[Array, "weights degrees"]] | None
    input_power: Callable[[Array], Float[Array, " degrees"]] | None

    @classmethod
    def of(
        cls, names: Sequence[InsightName], circuit: Circuit, model: Model, num_data: int
    ) -> CircuitInsights:
        """Return the insights named of the circuit that `model` evaluates; see `Insights.of`."""
        _check(names, circuit, num_data)
        weight_power = input_power = None
        if "fourier_spectrum" in names:
            try:
                weight_power = analysis.build_weight_power(
                    circuit, analysis.find_weight_frequencies(circuit)
                )
            except CircuitError as error:
                raise _refused(["fourier_spectrum"], str(error)) from error
            input_power = _input_power(circuit)
        return cls(tuple(names), model, circuit, num_data, weight_power, input_power)

    def measure(self, variables: Variables, inputs: Float[Array, "probes *shape"]) -> Measurements:
        """Return name -> value for the probes' inputs, preprocessed."""
        weights, angles = _circuit_inputs(self.model, variables, inputs)
        weights, angles = self.circuit.checked_inputs(weights, angles)
        found: Measurements = {}
        if {"entangling_capability", "expressibility"} & set(self.names):
            found |= self._of_states(weights, angles)
        if "effective_dimension" in self.names:
            found["effective_dimension"] = self._effective_dimension(variables, weights, angles)
        if self.weight_power is not None:
            shares = _shares(jnp.sum(self.weight_power(weights, angles), axis=0))
            found |= {f"fourier_spectrum/degree_{k}": share for k, share in enumerate(shares)}
        if self.input_power is not None:
            shares = _shares(self.input_power(weights))
            found |= {f"fourier_spectrum/input_degree_{k}": share for k, share in enumerate(shares)}
        return found

    def _of_states(
        self, weights: Float[Array, "..."], angles: Float[Array, "probes features"]
    ) -> Measurements:
        # From the gates alone, without their noise.
        states = statevector.build_state(self.circuit)(weights, angles)
        found: Measurements = {}
        if "entangling_capability" in self.names:
            found["entangling_capability"] = jnp.mean(analysis.meyer_wallach(states))
        if "expressibility" in self.names:
            overlaps = jnp.matmul(jnp.conj(states), states.T, precision="highest")
            pairs = np.triu_indices(len(states), 1)
            fidelities = jnp.abs(overlaps[pairs]) ** 2
            found["expressibility"] = analysis.divergence_from_haar(
                fidelities, self.circuit.num_qubits
            )
        return found

    def _effective_dimension(
        self,
        variables: Variables,
        weights: Float[Array, "..."],
        angles: Float[Array, "probes features"],
    ) -> Float[Array, ""]:
        evaluate = _with_forward_mode(self.circuit)

        def probabilities(
            weights: Float[Array, "..."], angles: Float[Array, "batch features"]
        ) -> Float[Array, "batch num_classes"]:
            logits = self.model.module(variables).classify(evaluate(weights, angles))
            return jax.nn.softmax(logits)

        def fisher(angles: Float[Array, " features"]) -> Float[Array, "weights weights"]:
            return analysis.classical_fisher_information(probabilities, weights, angles[None])

        amplitudes = 2**self.circuit.num_qubits * (1 + self.circuit.num_weights)
        matrices = map_chunks(jax.vmap(fisher), angles, amplitudes)
        return analysis.local_effective_dimension(jnp.mean(matrices, axis=0), self.num_data)


def _circuit_inputs(
    model: Model, variables: Variables, inputs: Float[Array, "batch *shape"]
) -> tuple[Float[Array, "..."], Float[Array, "batch features"]]:
    """Return the circuit's weights and the angles it is given."""
    module = model.module(variables)
    weights = module.middle.weights[...]
    module.middle = None
    return weights, module.represent(inputs)


def _with_forward_mode(circuit: Circuit) -> Callable[..., Float[Array, "batch outputs"]]:
    """Return the circuit as a function (weights, features) with forward-mode derivatives."""
    if circuit.noise is None:
        return statevector.build(circuit, adjoint=False)
    return circuit.to_jax()


def _shares(power: Float[Array, " degrees"]) -> Float[Array, " degrees"]:
    """Each power as a share of their sum; zeros where all are zero."""
    total = jnp.sum(power)
    return power / jnp.where(total > 0, total, 1)


def _input_power(circuit: Circuit) -> Callable[[Array], Float[Array, " degrees"]] | None:
    """Return weights -> power of the series in the features by total degree, over all outputs.

    None where there is no such series; see `Insights`.
    """
    frequencies = _input_frequencies(circuit)
    if frequencies is None:
        return None
    degrees = frequencies.degree
    coefficients = analysis.build_spectrum(circuit, frequencies)
    indices = np.indices([2 * degree + 1 for degree in degrees])
    centred = np.abs(indices - np.reshape(degrees, (-1, *[1] * len(degrees))))
    total_degree = np.sum(centred, axis=0).ravel()

    def power(weights: Float[Array, "..."]) -> Float[Array, " degrees"]:
        terms = jnp.sum(jnp.abs(coefficients(weights)) ** 2, axis=0).ravel()
        return jax.ops.segment_sum(terms, total_degree, sum(degrees) + 1)

    return power


def _input_frequencies(circuit: Circuit) -> analysis.Frequencies | None:
    """Return the frequencies in the features; None where they change, or are too many."""
    if circuit.num_features == 0:
        return None
    # Two draws, because factors such as that of w x change with the weights.
    draws = jax.random.split(jax.random.key(0))
    try:
        first, second = (
            analysis.find_frequencies(circuit, circuit.init_weights(key)) for key in draws
        )
    except CircuitError:
        return None
    same = first.degree == second.degree and np.allclose(first.base, second.base, rtol=1e-4)
    terms = np.prod([2 * degree + 1 for degree in first.degree], dtype=float)
    return first if same and terms <= MAX_INPUT_FREQUENCIES else None


def _check(names: Sequence[InsightName], circuit: Circuit, num_data: int) -> None:
    """Refuse insights that cannot be had of this circuit or with so few examples."""
    if circuit.num_qubits > MAX_QUBITS:
        raise _refused(
            names, f"expected a circuit of at most {MAX_QUBITS} qubits, got {circuit.num_qubits}"
        )
    of_weights = [name for name in names if name in ("effective_dimension", "fourier_spectrum")]
    if of_weights and circuit.num_weights == 0:
        raise _refused(of_weights, f"circuit {circuit.name!r} has no weights")
    if "effective_dimension" in names and not num_data > 2 * np.pi * np.log(num_data):
        raise _refused(
            ["effective_dimension"],
            f"{num_data} training examples in an epoch; it is defined for 19 and more",
        )


def _refused(names: Iterable[InsightName], reason: str) -> ConfigurationError:
    listed = ", ".join(names)
    return ConfigurationError(f"training.insights: {listed}: {reason}; leave it out")

"""Equilibrium propagation: its energy, its equilibria, and the gradient it tends to."""

import inspect
import io
import tokenize

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.training import equilibrium_propagation as ep
from hqnn_jax.training.patience import fit_with_patience

WIDTHS = (3, 6, 5, 2)
PRECISE = {"hidden_widths": WIDTHS[1:-1], "free_steps": 200, "nudged_steps": 200}


@pytest.fixture
def problem():
    """Parameters large enough for feedback to matter, inputs and targets, in float64."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        parameters = ep.init_parameters(jax.random.key(0), WIDTHS, jnp.float64)
        biases = tuple(jnp.asarray(rng.normal(0, 0.3, b.shape)) for b in parameters.biases)
        inputs = jnp.asarray(rng.normal(0, 1, (4, 3)))
        targets = jnp.asarray([[1.0, -1], [-1, 1], [1, -1], [-1, 1]])
        yield ep.EnergyParameters(parameters.weights, biases), inputs, targets


def free(parameters, inputs, steps=200):
    zeros = tuple(jnp.zeros((len(inputs), len(b))) for b in parameters.biases)
    return ep.relax(parameters, inputs, zeros, steps=steps)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_the_free_phase_ends_where_the_energy_is_stationary(problem):
    parameters, inputs, _ = problem
    states = free(parameters, inputs)
    slope = jax.grad(lambda s: ep.energy(parameters, inputs, s).sum())(states)
    np.testing.assert_allclose(flat(slope), 0, atol=1e-9)
    # Feedback matters: a forward pass ends elsewhere.
    forward = inputs
    for weight, bias in zip(*parameters, strict=True):
        forward = jnp.tanh(forward @ weight + bias)
    assert np.abs(states[-1] - forward).max() > 0.05


@pytest.mark.parametrize("nudge", [0.4, -0.4])
def test_the_nudged_phase_ends_where_energy_and_cost_balance(problem, nudge):
    parameters, inputs, targets = problem

    def total(states):
        cost = ep.cost(states[-1], targets)
        return jnp.sum(ep.energy(parameters, inputs, states) + nudge * cost)

    states = ep.relax(
        parameters, inputs, free(parameters, inputs), steps=200, targets=targets, nudge=nudge
    )
    np.testing.assert_allclose(flat(jax.grad(total)(states)), 0, atol=1e-9)


@pytest.mark.parametrize(("step_size", "gain"), [(1.0, 8.0), (0.3, 1.0)])
def test_no_sweep_raises_the_energy(problem, step_size, gain):
    parameters, inputs, _ = problem
    parameters = jax.tree.map(lambda leaf: gain * leaf, parameters)
    states = tuple(jnp.full((4, width), 0.9) * (-1) ** width for width in WIDTHS[1:])
    energies = [ep.energy(parameters, inputs, states)]
    sweep = jax.jit(lambda s: ep.relax(parameters, inputs, s, steps=1, step_size=step_size))
    for _ in range(15):
        states = sweep(states)
        energies.append(ep.energy(parameters, inputs, states))
    assert (np.diff(energies, axis=0) <= 1e-12).all()
    assert (energies[-1] < energies[0] - 0.1).all()


def test_the_energys_gradient_in_the_parameters(problem):
    parameters, inputs, _ = problem
    states = free(parameters, inputs, steps=1)
    expected = jax.grad(lambda p: ep.energy(p, inputs, states).mean())(parameters)
    np.testing.assert_allclose(
        flat(ep.energy_gradient(inputs, states)), flat(expected), rtol=1e-9, atol=1e-12
    )


def test_the_update_tends_to_the_true_gradient(problem):
    """Theorem 1 of Scellier and Bengio: the error is O(β), and O(β²) with symmetric nudging."""
    parameters, inputs, targets = problem

    def loss(parameters):
        return ep.cost(free(parameters, inputs)[-1], targets).mean()

    true = flat(jax.grad(loss)(parameters))
    nudges = np.array([0.2, 0.1, 0.05])
    for symmetric, order in ((False, 1), (True, 2)):
        errors = []
        for nudge in nudges.tolist():
            options = ep.EquilibriumConfig(**PRECISE, nudge=nudge, symmetric=symmetric)
            estimate = flat(ep.estimated_gradient(parameters, inputs, targets, options))
            errors.append(np.linalg.norm(estimate - true) / np.linalg.norm(true))
        orders = np.diff(np.log(errors)) / np.diff(np.log(nudges))
        np.testing.assert_allclose(orders, order, atol=0.25)
        assert errors[-1] < (0.002 if symmetric else 0.1)


def jaxpr_equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values())):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from jaxpr_equations(inner)


def is_differentiated(function, *arguments):
    """Whether a trace contains anything that came out of jvp or transposition."""
    jaxpr = jax.make_jaxpr(function)(*arguments)
    names = [str(e.source_info.name_stack) for e in jaxpr_equations(jaxpr.jaxpr)]
    return any("transpose" in name or "jvp" in name for name in names)


def test_nothing_is_differentiated_by_a_program():
    options = ep.EquilibriumConfig(hidden_widths=(6, 5), batch_size=4)
    parameters = ep.init_parameters(jax.random.key(0), WIDTHS)
    optimizer = ep.make_optimizer(options, 3)
    step = ep.make_step(options, optimizer)
    state = ep.EquilibriumState(parameters, optimizer.init(parameters))
    batch = jnp.ones((4, 3)), jnp.ones((4, 2))
    assert not is_differentiated(step, state, batch)

    def by_backpropagation(parameters):
        return ep.cost(ep.predict(parameters, batch[0], options), batch[1]).mean()

    assert is_differentiated(jax.grad(by_backpropagation), parameters)
    source = io.StringIO(inspect.getsource(ep))
    names = {t.string for t in tokenize.generate_tokens(source.readline) if t.type == tokenize.NAME}
    forbidden = "grad value_and_grad vjp jvp linearize jacrev jacfwd hessian custom_vjp checkpoint"
    assert not names & set(forbidden.split())


@pytest.mark.parametrize("symmetric", [True, False])
def test_one_update_follows_the_estimate(symmetric):
    options = ep.EquilibriumConfig(hidden_widths=(4,), symmetric=symmetric, momentum=0.0)
    parameters = ep.init_parameters(jax.random.key(1), (3, 4, 2))
    optimizer = ep.make_optimizer(options, 1)
    batch = jnp.asarray([[1.0, -2, 0.5]]), jnp.asarray([[1.0, -1]])
    state = ep.EquilibriumState(parameters, optimizer.init(parameters))
    moved = ep.make_step(options, optimizer)(state, batch).parameters
    estimate = ep.estimated_gradient(parameters, *batch, options)
    expected = jax.tree.map(lambda p, g: p - options.learning_rate * g, parameters, estimate)
    np.testing.assert_allclose(flat(moved), flat(expected), atol=1e-6)


def test_the_rate_falls_on_a_cosine_to_zero():
    options = ep.EquilibriumConfig(hidden_widths=(4,), momentum=0.0, max_epochs=5)
    optimizer = ep.make_optimizer(options, steps_per_epoch=4)
    state = optimizer.init(jnp.zeros(1))
    changes = []
    for _ in range(21):
        change, state = optimizer.update(jnp.ones(1), state)
        changes.append(-float(change[0]))
    expected = options.learning_rate * (1 + np.cos(np.pi * np.arange(21) / 20)) / 2
    np.testing.assert_allclose(changes, expected, atol=1e-8)


def test_it_learns_what_no_linear_rule_can():
    """Exclusive or, from several seeds at once."""
    options = ep.EquilibriumConfig(
        hidden_widths=(32,), learning_rate=0.02, batch_size=8, max_epochs=50, patience=50
    )
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.uniform(-2, 2, (288, 3)), jnp.float32)
    labels = (inputs[:, 0] * inputs[:, 1] > 0).astype(jnp.int32)
    targets = 2.0 * jax.nn.one_hot(labels, 2) - 1
    x, y = inputs[:256], targets[:256]
    optimizer = ep.make_optimizer(options, 256 // 8)

    def train(key):
        parameters = ep.init_parameters(key, (3, 32, 2))
        return fit_with_patience(
            ep.make_step(options, optimizer),
            lambda s: ep.cost(
                ep.predict(s.parameters, inputs[256:], options), targets[256:]
            ).mean(),
            ep.EquilibriumState(parameters, optimizer.init(parameters)),
            (x, y),
            key,
            batch_size=options.batch_size,
            max_epochs=options.max_epochs,
            patience=options.patience,
        )

    fits = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 3))
    outputs = jax.vmap(lambda p: ep.predict(p, inputs, options))(fits.best.parameters)
    accuracy = (outputs.argmax(-1) == labels).mean(axis=1)
    assert (accuracy > 0.9).all()
    assert len(np.unique(fits.validation_loss[:, 0])) == 3


def test_initial_weights_are_glorots():
    parameters = ep.init_parameters(jax.random.key(0), (40, 100, 10))
    for weight in parameters.weights:
        limit = (6 / sum(weight.shape)) ** 0.5
        assert float(jnp.abs(weight).max()) == pytest.approx(limit, rel=0.02)
        assert float(weight.std()) == pytest.approx(limit / 3**0.5, rel=0.1)
    assert not flat(parameters.biases).any()

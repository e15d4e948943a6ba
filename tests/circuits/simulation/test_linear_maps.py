"""Linear maps of basis states, permutations, tensor products and components."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hqnn_jax.circuits.permutation import permute_states, read_rows
from hqnn_jax.circuits.simulation import components
from hqnn_jax.circuits.simulation.bits import BitMap, bit, image_tables, labels, signs, split_signs
from hqnn_jax.circuits.simulation.tensor_product import tensor_product

quick = settings(max_examples=40, deadline=None, derandomize=True)


def move(gate: tuple[str, int, int], label: int, num_qubits: int) -> int:
    """The basis state that a CNOT or SWAP makes of one, bit by bit."""
    name, first, last = gate
    digits = list(f"{label:0{num_qubits}b}")
    if name == "SWAP":
        digits[first], digits[last] = digits[last], digits[first]
    elif digits[first] == "1":
        digits[last] = "0" if digits[last] == "1" else "1"
    return int("".join(digits), 2)


def gate_map(gate: tuple[str, int, int], num_qubits: int) -> BitMap:
    return BitMap(tuple(move(gate, bit(w, num_qubits), num_qubits) for w in range(num_qubits)))


@st.composite
def sequences(draw):
    """A number of qubits and gates on them."""
    num_qubits = draw(st.integers(1, 6))
    if num_qubits == 1:
        return 1, []
    pair = st.permutations(range(num_qubits)).map(lambda order: tuple(order[:2]))
    gate = st.tuples(st.sampled_from(["CNOT", "SWAP"]), pair).map(lambda g: (g[0], *g[1]))
    return num_qubits, draw(st.lists(gate, max_size=12))


def composed(num_qubits, gates) -> BitMap:
    total = BitMap.identity(num_qubits)
    for gate in gates:
        total = gate_map(gate, num_qubits).after(total)
    return total


def brute_force(num_qubits, gates) -> list[int]:
    images = list(range(2**num_qubits))
    for gate in gates:
        images = [move(gate, image, num_qubits) for image in images]
    return images


@quick
@given(sequences())
def test_composition_and_inverse_match_brute_force(sequence):
    num_qubits, gates = sequence
    total, expected = composed(num_qubits, gates), brute_force(num_qubits, gates)
    assert [total.image(label) for label in range(2**num_qubits)] == expected
    assert [total.inverse().image(image) for image in expected] == list(range(2**num_qubits))
    assert total.is_identity == (expected == sorted(expected))
    assert total.inverse().after(total).is_identity


@quick
@given(sequences(), st.integers(0, 63))
def test_pulled_back_parities_match_brute_force(sequence, number):
    num_qubits, gates = sequence
    mask = number % 2**num_qubits
    pulled = composed(num_qubits, gates).pull_back(mask)
    for label, image in enumerate(brute_force(num_qubits, gates)):
        assert (pulled & label).bit_count() % 2 == (mask & image).bit_count() % 2


@quick
@given(sequences())
def test_image_tables_give_all_images(sequence):
    num_qubits, gates = sequence
    high, low = image_tables(composed(num_qubits, gates))
    assert len(high) == 2 ** (num_qubits // 2)
    assert high.dtype == low.dtype == np.int32
    assert labels(high, low).tolist() == brute_force(num_qubits, gates)


@quick
@given(st.integers(1, 6).flatmap(lambda n: st.permutations(range(n))))
def test_reordering_puts_bits_where_it_says(wires):
    num_qubits = len(wires)
    map_ = BitMap.reordering(wires)
    for label in range(2**num_qubits):
        digits = f"{label:0{num_qubits}b}"
        assert f"{map_.image(label):0{num_qubits}b}" == "".join(digits[wire] for wire in wires)


@quick
@given(st.integers(1, 7), st.lists(st.integers(0, 127), min_size=1, max_size=4))
def test_signs_and_their_factors_match_brute_force(num_qubits, numbers):
    masks = [number % 2**num_qubits for number in numbers]
    expected = [
        [(-1) ** bin(mask & label).count("1") for label in range(2**num_qubits)] for mask in masks
    ]
    assert signs(masks, num_qubits).tolist() == expected
    high, low = split_signs(masks, num_qubits)
    assert high.shape == (len(masks), 2 ** (num_qubits // 2))
    product = high[:, :, None] * low[:, None]
    assert product.reshape(len(masks), -1).tolist() == expected


# A permutation of five states that is not its own inverse.
SOURCE = np.array([3, 0, 4, 1, 2], np.int32)
INVERSE = np.argsort(SOURCE).astype(np.int32)


def random(*shape) -> jax.Array:
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape), jnp.float32)


def test_permutation_and_its_derivatives_match_indexing():
    state, other = random(2, 5, 3), random(2, 5, 3) ** 2

    def derivatives(permute):
        nonlinear = lambda x: jnp.vdot(jnp.sin(permute(x)), other)  # noqa: E731
        gradient = jax.grad(nonlinear)
        along = lambda x: jnp.vdot(gradient(x), jnp.cos(x))  # noqa: E731
        forward = jax.jvp(lambda x: permute(x) ** 2, (state,), (other,))
        return permute(state), gradient(state), jax.grad(along)(state), forward

    found = derivatives(lambda x: permute_states(x, jnp.asarray(SOURCE), jnp.asarray(INVERSE)))
    expected = derivatives(lambda x: x[:, SOURCE])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
                 found, expected)  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_permutation_is_mapped_over_any_axis(axis):
    states = jnp.moveaxis(random(4, 2, 5, 3), 0, axis)
    permute = lambda x: permute_states(x, jnp.asarray(SOURCE), jnp.asarray(INVERSE))  # noqa: E731
    found = jax.vmap(permute, axis)(states)
    np.testing.assert_array_equal(found, jnp.moveaxis(states, axis, 0)[:, :, SOURCE])
    gradient = jax.vmap(jax.grad(lambda x: jnp.vdot(permute(x), x**2)), axis)(states)
    expected = jax.vmap(jax.grad(lambda x: jnp.vdot(x[:, SOURCE], x**2)), axis)(states)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_permutation_must_be_one_for_all_elements():
    sources = jnp.stack([jnp.asarray(SOURCE), jnp.asarray(INVERSE)])
    with pytest.raises(NotImplementedError, match="cannot differ between the elements"):
        jax.vmap(permute_states, (None, 0, 0))(random(1, 5, 2), sources, sources[::-1])


@pytest.mark.parametrize(
    "source",
    [[2, 0, 3], [0, 1, 2, 3], [3, -1, 0], [-1, -1], [1, 1, -1, 2], []],
    ids=["some", "all", "filled", "none", "repeated", "empty"],
)
@pytest.mark.parametrize("rows", [4, 0])
def test_rows_are_read_and_missing_ones_are_zero(source, rows):
    source = np.array([s if s < rows else -1 for s in source], np.int32)
    array, other = random(rows, 3), random(len(source), 3) ** 2

    def derivatives(read):
        loss = lambda x: jnp.vdot(read(x) ** 3, other)  # noqa: E731
        along = lambda x: jnp.vdot(jax.grad(loss)(x), jnp.cos(x))  # noqa: E731
        mapped = jax.vmap(read, 1, 1)(array)
        return read(array), jax.grad(loss)(array), jax.grad(along)(array), mapped

    def plain(x):
        kept = (source >= 0).reshape(-1, *[1] * (x.ndim - 1))
        filled = jnp.concatenate([x, jnp.zeros((1, *x.shape[1:]))])
        return jnp.where(kept, filled[source], 0)

    found = derivatives(lambda x: read_rows(x, source))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
                 found, derivatives(plain))  # fmt: skip


# Axes of 3 are summed term by term with 40 columns; 20, and 5 columns, are left to the compiler.
SHAPES = [
    ((3, 40), (4, 40)),
    ((20, 40), (3, 40)),
    ((3, 5), (2, 5)),
    ((3, 1), (4, 40)),
    ((3, 40), (4, 1)),
    ((20, 1), (4, 5)),
    ((3, 1), (2, 1)),
]


@pytest.mark.parametrize(("first", "second"), SHAPES)
def test_tensor_product_and_its_derivatives_match_einsum(first, second):
    a, b = random(*first), 0.7 * random(*second)
    columns = max(first[1], second[1])
    weights = random(first[0], second[0], columns)

    def plain(a, b):
        spread = [jnp.broadcast_to(x, (len(x), columns)) for x in (a, b)]
        return jnp.einsum("is,js->ijs", *spread, precision="highest")

    def derivatives(product):
        loss = lambda a, b: jnp.vdot(weights, jnp.sin(product(a, b)))  # noqa: E731

        def slope(a, b):
            by_a, by_b = jax.grad(loss, (0, 1))(a, b)
            return jnp.vdot(by_a, jnp.cos(a)) + jnp.vdot(by_b, b**2)

        forward = jax.jvp(product, (a, b), (jnp.cos(a), b**2))[1]
        gradients = [jax.grad(f, (0, 1))(a, b) for f in (loss, slope)]
        return product(a, b), forward, gradients

    found = jax.jit(lambda: derivatives(tensor_product))()
    expected = jax.jit(lambda: derivatives(plain))()
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-4),
                 found, expected)  # fmt: skip


@pytest.mark.parametrize("axes", [(0, 0), (None, 1), (2, None)])
def test_tensor_product_is_mapped(axes):
    a, b = (
        random(*size) if axis is None else jnp.moveaxis(random(6, *size), 0, axis)
        for axis, size in zip(axes, ((3, 40), (4, 40)), strict=True)
    )
    weights = random(3, 4, 40)

    def gradients(product):
        loss = lambda a, b: jnp.vdot(weights, product(a, b) ** 2)  # noqa: E731
        return jax.jit(jax.vmap(jax.value_and_grad(loss, (0, 1)), axes))(a, b)

    found = gradients(tensor_product)
    expected = gradients(lambda a, b: a[:, None] * b[None])
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4),
                 found, expected)  # fmt: skip


def random_complex(*shape) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def test_components_multiply_like_complex_numbers():
    a, b = random_complex(3, 1, 4), random_complex(2, 1)
    pair = [components.to_components(jnp.asarray(x), 2) for x in (a, b[None])]
    np.testing.assert_allclose(
        components.from_components(components.multiply(*pair)), a * b, rtol=1e-5, atol=1e-6
    )
    real = components.to_components(jnp.asarray(b[None].real), 1)
    for product in (components.multiply(pair[0], real), components.multiply(real, pair[0])):
        np.testing.assert_allclose(
            components.from_components(product), a * b.real, rtol=1e-5, atol=1e-6
        )


def test_real_matrices_act_on_components_like_complex_ones():
    matrices, vector = random_complex(2, 3, 4), random_complex(4)
    real = components.real_matrices(jnp.asarray(matrices), 2)
    stacked = jnp.concatenate([vector.real, vector.imag])
    found = (real @ stacked).reshape(2, 2, 3)
    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], matrices @ vector, rtol=1e-4)
    alone = components.real_matrices(jnp.asarray(matrices.real), 1)
    np.testing.assert_array_equal(alone, matrices.real)


@pytest.mark.parametrize("real", [(), (1,), (0, 1, 2)], ids=["complex", "mixed", "real"])
def test_product_state_puts_the_first_factor_outermost(real):
    # Three factors, one of them the same for all samples.
    factors = [random_complex(2, columns) * (k + 1) for k, columns in enumerate((5, 1, 5))]
    factors = [f.real if k in real else f for k, f in enumerate(factors)]
    state = components.product_state(
        [components.to_components(jnp.asarray(f), 2 - (k in real)) for k, f in enumerate(factors)]
    )
    spread = [np.broadcast_to(factor, (2, 5)) for factor in factors]
    expected = np.einsum("is,js,ks->ijks", *spread).reshape(8, 5)
    assert len(state) == (1 if len(real) == 3 else 2)
    np.testing.assert_allclose(components.from_components(state), expected, rtol=1e-4, atol=1e-5)

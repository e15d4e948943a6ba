"""Export of a circuit as OpenQASM 3.

Qiskit's own exporter writes angles in Qiskit's notation, of which `asin`, `abs` and `sign` do not
exist in OpenQASM 3; and it leaves out inputs that no gate uses.
"""

import math
from collections.abc import Iterator
from typing import Any

from qiskit.circuit import ParameterExpression, ParameterVector
from sympy.printing.c import C99CodePrinter
from sympy.printing.precedence import PRECEDENCE

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.exchange.expressions import to_sympy
from hqnn_jax.circuits.exchange.to_qiskit import QISKIT_NAMES, gate_angles

# Integer powers up to this are written as products, which every reader understands.
_MAX_PRODUCT = 8


class _AnglePrinter(C99CodePrinter):
    """Writes SymPy expressions in OpenQASM 3, whose arithmetic is C's.

    `elementary` tells, after printing, whether + - * / were enough.
    """

    def __init__(self, names: dict[str, str]) -> None:
        functions = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
        super().__init__({"user_functions": functions})
        self.names = names
        self.elementary = True

    def _print_Symbol(self, expr: Any) -> str:
        return self.names[expr.name]

    def _print_Float(self, expr: Any) -> str:
        return repr(float(expr))

    def _print_Function(self, expr: Any) -> str:
        self.elementary = False
        return super()._print_Function(expr)

    _print_sin = _print_cos = _print_tan = _print_asin = _print_acos = _print_atan = _print_Function
    _print_exp = _print_log = _print_Function

    def _print_Abs(self, expr: Any) -> str:
        self.elementary = False
        argument = self._print(expr.args[0])
        return f"sqrt(({argument})*({argument}))"

    def _print_sign(self, expr: Any) -> str:
        self.elementary = False
        argument = self._print(expr.args[0])
        return f"(float({argument} > 0.0) - float({argument} < 0.0))"

    def _print_Pow(self, expr: Any) -> str:
        exponent = float(expr.exp) if expr.exp.is_number else math.nan
        if exponent.is_integer() and 1 <= abs(exponent) <= _MAX_PRODUCT:
            factors = [self.parenthesize(expr.base, PRECEDENCE["Pow"])] * int(abs(exponent))
            return f"({'*'.join(factors)})" if exponent > 0 else f"(1.0/({'*'.join(factors)}))"
        self.elementary = False
        base, exponent_text = self._print(expr.base), self._print(expr.exp)
        if abs(exponent) == 0.5:
            return f"sqrt({base})" if exponent > 0 else f"(1.0/sqrt({base}))"
        # Not pow(a, b): parsers take that for the gate modifier of this name.
        return f"(({base})**({exponent_text}))"


def to_openqasm3(circuit: Definition, *, precompute: bool = False) -> str:
    """Write a circuit in OpenQASM 3 (https://openqasm.com, version 3.0).

    Every feature and weight is an `input float[64]`, `features_0` and so on; weights are
    flattened in C order. Angles are in radians. There is no measurement: the first comments name
    the expectation values that the circuit's outputs are, with one letter per qubit, q[0] first.
    Noise is not exported.

    Args:
        circuit: the circuit.
        precompute: what to do with angles that need more than + - * /. OpenQASM 3 has sin, exp
            and so on, but some readers, Qiskit's among them, have not. If True such an angle
            becomes an input `angles_k`, whose value is `circuit.angles(features, weights)[k]`,
            with its formula in a comment if it has one.

    Raises:
        CircuitError: Qiskit's parameter expressions, of which the text is made, cannot express
            the angle of a gate, and `precompute` is False.
    """
    features = ParameterVector("features", circuit.num_features)
    weights = ParameterVector("weights", circuit.num_weights)
    precomputed = ParameterVector("angles", circuit.angles.num_angles if precompute else 0)
    names = {p.name: f"{p.vector.name}_{p.index}" for p in [*features, *weights, *precomputed]}
    inputs = [f"input float[64] {names[p.name]};" for p in [*features, *weights]]
    texts = []
    for index, angle in enumerate(gate_angles(circuit, features, weights, precomputed)):
        text, elementary = _angle_text(angle, names, circuit.name)
        if precompute and angle == precomputed[index]:
            inputs.append(f"input float[64] {text};")
        elif precompute and not elementary:
            inputs.append(f"input float[64] angles_{index}; // {text}")
            text = f"angles_{index}"
        texts.append(text)
    lines = [
        *_header(circuit),
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        *inputs,
        f"qubit[{circuit.num_qubits}] q;",
    ]
    for gate in circuit.gates:
        parameters = "" if gate.angle is None else f"({texts[gate.angle]})"
        qubits = ", ".join(f"q[{wire}]" for wire in gate.wires)
        lines.append(f"{QISKIT_NAMES[gate.name]}{parameters} {qubits};")
    return "\n".join(lines) + "\n"


def _angle_text(
    angle: float | ParameterExpression, names: dict[str, str], circuit_name: str
) -> tuple[str, bool]:
    """The angle in OpenQASM 3, and whether it needs no more than + - * /."""
    if not isinstance(angle, ParameterExpression):
        return repr(float(angle)), True
    printer = _AnglePrinter(names)
    return printer.doprint(to_sympy(angle, circuit_name)), printer.elementary


def _header(circuit: Definition) -> Iterator[str]:
    yield f"// {' '.join(circuit.name.split())}"
    for index, observable in enumerate(circuit.observables):
        terms = " ".join(f"{coefficient:+} {word}" for coefficient, word in observable.terms)
        yield f"// output {index}: {terms}"

"""Circuits on quantum backends: compilation, jobs of IBM's primitives, mitigation."""

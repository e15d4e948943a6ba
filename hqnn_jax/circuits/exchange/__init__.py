"""Circuits in other languages: Qiskit and OpenQASM."""

"""Hybrid quantum-classical neural networks for medical images, in JAX."""

__version__ = "0.1.0"

"""Benchmarks of the circuit engines against other simulators: `python -m experiment bench`."""

"""Trained circuits on simulators with a device's noise and on IBM Quantum devices."""

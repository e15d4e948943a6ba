"""The formats by name, known without loading what writes them."""

SUFFIXES = {"stablehlo": ".stablehlo", "onnx": ".onnx", "openqasm3": ".qasm"}
"""Format -> how the names of its files end."""

"""A trained model in formats that others read: StableHLO, ONNX, and its circuit in OpenQASM 3."""

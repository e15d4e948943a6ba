"""The simulator: states, Pauli vectors and what acts on them, shared by the engines."""

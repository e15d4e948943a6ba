"""Names of a trained model's files and of their folder in a run; what it promises by default."""

MODEL_FOLDER = "model"
RECORD, WEIGHTS, VALIDATION, CARD = "model.yaml", "model.safetensors", "validation.npz", "README.md"

RISK, COVERAGE = 0.05, 0.9
"""What is asked for where nobody says otherwise."""

"""Names of a trained model's files, and of their folder in that of a run."""

MODEL_FOLDER = "model"
RECORD, WEIGHTS, VALIDATION, CARD = "model.yaml", "model.safetensors", "validation.npz", "README.md"

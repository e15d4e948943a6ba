"""Configurations of runs that take seconds."""


def small_run(
    images: tuple[int, int, int],
    rest: str,
    *,
    resolution: int = 28,
    frozen: bool = False,
    processor: str = "{widths: []}",
    qubits: int = 2,
    layers: int = 1,
) -> str:
    """Return the YAML text of a run on drawn cells.

    Args:
        images: how many to train on, to validate on and to test on.
        rest: what follows, first of all in the section of the model.
        resolution: of the images in pixels; the backbone sees 16.
        frozen: whether the backbone is, so that only features are trained on.
        processor: its section.
        qubits: of the circuit.
        layers: of the circuit.
    """
    train, validation, test = images
    kept = ", frozen: true" if frozen else ""
    head = f"""
dataset:
  name: synthetic_cells
  resolution: {resolution}
  synthetic: {{train_images: {train}, validation_images: {validation}, test_images: {test}}}
model:
  backbone: {{name: five_layer_cnn, image_size: 16{kept}}}
  processor: {processor}
  circuit: {{name: radhi2025, num_qubits: {qubits}, num_layers: {layers}}}
"""
    return head + rest.lstrip("\n")

"""Fixtures: a small finished run, written the way training writes one, and predictions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hqnn_jax.config import (
    BackboneConfig,
    Config,
    DatasetConfig,
    EvaluationConfig,
    ModelConfig,
)
from hqnn_jax.evaluation.metrics import compute_metrics, mean_over_seeds

CLASS_NAMES = ["<b>baso & phil</b>", "eosinophil $x^2$", "immature granulocytes(myelocytes, etc.)"]
SIZES = {"train": 90, "validation": 40, "test": 55}


def draw_predictions(
    rng: np.random.Generator, labels: np.ndarray, num_classes: int, strength: float = 2.5
) -> np.ndarray:
    """Draw float32 probabilities that favour the true class."""
    logits = rng.normal(size=(len(labels), num_classes))
    logits[np.arange(len(labels)), labels] += strength
    exponents = np.exp(logits)
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def predict() -> Callable[..., np.ndarray]:
    return draw_predictions


def _history(seeds: range) -> list[dict]:
    return [
        {
            "seed": seed,
            "epoch": epoch,
            "train_loss": 1.2 / epoch,
            "train_accuracy": 0.6 + 0.05 * epoch,
            "validation_loss": 1.3 / epoch + 0.01 * seed,
            "validation_accuracy": 0.55 + 0.05 * epoch,
            "learning_rate": 1e-3,
            "seconds": 0.5,
        }
        for seed in seeds
        for epoch in range(1, 5)
    ]


def _write_metrics(
    folder: Path,
    seeds: range,
    labels: dict,
    probabilities: dict,
    dataset: dict,
) -> None:
    per_seed: list[dict[str, Any]] = []
    for number, seed in enumerate(seeds):
        splits = {
            split: compute_metrics(
                probabilities[split][number],
                labels[split],
                dataset["class_names"],
                bootstrap_samples=100,
            )
            for split in labels
        }
        time = {"compile_s": 3.25, "train_s": 4980.0, "epoch_s": 0.5}
        per_seed.append({"seed": seed, **splits, "time": time, "best_epoch": 2 + number})
    metrics = {
        **{split: mean_over_seeds([entry[split] for entry in per_seed]) for split in labels},
        "parameters": {"backbone": 4007548, "circuit": 24, "classical": 1017, "total": 4008589},
        "time": per_seed[0]["time"],
        "seeds": per_seed,
        "dataset": dataset,
        "status": "finished",
    }
    (folder / "metrics.json").write_text(json.dumps(metrics, allow_nan=False), encoding="utf-8")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run folder and returns its path."""

    def make(name: str = "a run & <i>more", *, num_seeds: int = 2, synthetic: bool = True) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        rng = np.random.default_rng(7)
        seeds = range(3, 3 + num_seeds)
        labels = {s: rng.integers(0, 3, n).astype(np.int32) for s, n in SIZES.items()}
        probabilities = {
            split: np.stack([draw_predictions(rng, labels[split], 3, strength=1.5) for _ in seeds])
            for split in SIZES
        }
        dataset = {
            "name": "synthetic_cells" if synthetic else "bloodmnist",
            "synthetic": synthetic,
            "class_names": CLASS_NAMES,
            "counts": SIZES,
            "fingerprint": "0f" * 32,
            "shared_images": [
                {"first": "train", "second": "validation", "images": 0, "different_labels": 0},
                {"first": "train", "second": "test", "images": 5, "different_labels": 1},
            ],
            "licence": "CC BY 4.0",
            "citation": "Acevedo et al. <script>alert(1)</script>",
        }
        _write_metrics(folder, seeds, labels, probabilities, dataset)
        indices = np.array([4, 50, 13, 27, 31, 8, 44])
        arrays: dict[str, Any] = {
            "seeds": np.array(seeds),
            "sample_images": rng.integers(0, 256, (7, 10, 14, 3), dtype=np.uint8),
            "sample_indices": indices,
            **{f"{split}_labels": labels[split] for split in SIZES},
            **{f"{split}_probabilities": probabilities[split] for split in SIZES},
        }
        np.savez(folder / "predictions.npz", **arrays)
        history = "".join(json.dumps(line) + "\n" for line in _history(seeds))
        (folder / "history.jsonl").write_text(history, encoding="utf-8")
        config = Config(
            dataset=DatasetConfig(name=dataset["name"]),
            model=ModelConfig(backbone=BackboneConfig(name="compact")),
            evaluation=EvaluationConfig(bootstrap_samples=100),
            seed=3,
            seeds=num_seeds,
        )
        (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
        environment = {"jax": "0.10.2", "device": {"platform": "cpu", "count": 1}, "commit": None}
        (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
        return folder

    return make

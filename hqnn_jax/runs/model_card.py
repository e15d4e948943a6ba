"""The card of a trained model, in Markdown: what it is, how good, for what, and what not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hqnn_jax.config import Config
from hqnn_jax.evaluation.label_metrics import LABEL_METRICS
from hqnn_jax.evaluation.metrics import LABELS
from hqnn_jax.reporting.formatting import (
    count,
    fixed,
    inline,
    level,
    percent,
    with_deviation,
    with_interval,
)
from hqnn_jax.runs.described import describe_data, describe_network, describe_training
from hqnn_jax.trained.layout import COVERAGE, RISK
from hqnn_jax.trained.record import ModelRecord

# The Hugging Face hub reads it; whose licence the weights have is their author's to say.
_HEAD = """\
---
library_name: hqnn_jax
pipeline_tag: image-classification
tags: [image-classification, quantum-machine-learning, jax]
---
"""

_USE = """\
## Use

```python
from hqnn_jax import load

model = load("FOLDER")  # this folder, or that of the run
prediction = model.predict(["image.png"])
print(prediction.names, prediction.probabilities, prediction.rejected, prediction.set_names)
```

`python -m experiment predict FOLDER image.png` writes the same as CSV. No dataset is needed.
"""

_INTENDED = """\
## Intended use

Research on hybrid quantum-classical classifiers, and teaching. It is not a medical device: nobody's
diagnosis or treatment may depend on it.
"""


def model_card(record: ModelRecord, config: Config, metrics: Mapping[str, Any], index: int) -> str:
    """Return the card of one seed's model.

    Args:
        record: the model.
        config: of its run, with the circuit's final size.
        metrics: the run's `metrics.json`.
        index: position of the seed.
    """
    return "\n".join(
        (
            _HEAD,
            _title(record, config),
            _USE,
            _data(record, config, metrics),
            _figures(record, metrics, index),
            _uncertainty(record),
            _INTENDED,
            "## Limits\n\n" + "\n".join(f"- {limit}" for limit in _limits(record, metrics)) + "\n",
        )
    )


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return text.replace("<", "&lt;").replace("|", "\\|")


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = (heads, ("---",) * len(heads), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _title(record: ModelRecord, config: Config) -> str:
    data = record.trained_on
    drawn = (
        "\n**Synthetic data.** Every image it was trained and tested on was drawn by a program. "
        "The figures test the software; they say nothing about real images.\n"
        if data.synthetic
        else ""
    )
    return (
        f"# Classifier of {_escaped(data.name)}, {len(record.class_names)} classes\n"
        f"{drawn}\n"
        f"Trained with hqnn_jax {record.hqnn_jax}. {_escaped(describe_network(config.model))}. "
        f"{_escaped(describe_training(config))}.\n\n"
        f"Classes: {_escaped(', '.join(record.class_names))}.\n"
    )


def _data(record: ModelRecord, config: Config, metrics: Mapping[str, Any]) -> str:
    data = record.trained_on
    rows = {
        "Dataset": data.name + (" (synthetic)" if data.synthetic else ""),
        "Task and split": describe_data(config.dataset),
        "Images": ", ".join(f"{count(number)} {name}" for name, number in data.counts.items()),
        "Description": data.description,
        "Licence": data.licence,
        "Citation": data.citation,
        "Address": data.url,
        "Fingerprint (SHA-256)": data.fingerprint,
        "Notes": "; ".join(metrics["dataset"]["warnings"]),
    }
    told = ((key, _escaped(inline(value))) for key, value in rows.items() if value)
    return f"## Data\n\n{_table(('', ''), told)}\n"


def _figures(record: ModelRecord, metrics: Mapping[str, Any], index: int) -> str:
    own, origin = metrics["seeds"][index]["test"], record.origin
    several = len(origin.seeds) > 1
    criterion = "loss" if record.task == "multilabel" else "accuracy (ties: lower loss)"
    heads: tuple[str, ...] = ("Test split", f"Seed {origin.seed}, 95 % interval")
    if several:
        heads = (*heads, f"Mean ± standard deviation of {len(origin.seeds)} seeds")
    rows = []
    shown = LABEL_METRICS if record.task == "multilabel" else LABELS
    for name in own["intervals"]:
        if name not in shown:  # of the user's own, which need not be a share
            continue
        row: tuple[str, ...] = (shown[name], with_interval(own[name], own["intervals"][name]))
        if several:
            mean = metrics["test"]
            deviation = with_deviation(mean[name], mean["standard_deviation"].get(name))
            row = (*row, deviation)
        rows.append(row)
    classes = (
        (
            _escaped(entry["class"]),
            count(entry["support"]),
            *(
                with_interval(entry[name], entry["intervals"][name])
                for name in ("precision", "recall")
            ),
        )
        for entry in own["per_class"]
    )
    which = (
        f"Of {len(origin.seeds)} seeds, {origin.seed} is here: the one that is best by validation "
        f"{criterion}. The test split chose nothing. "
        if several
        else ""
    )
    best = f" by validation {criterion}" if origin.checkpoint == "best" else ""
    return (
        "## Figures\n\n"
        f"In per cent, without temperature. {which}Parameters of the {origin.checkpoint} epoch"
        f"{best}, {origin.epoch}.\n\n"
        f"{_table(heads, iter(rows))}\n\n"
        f"{_table(('Class', 'Images', 'Precision', 'Recall'), classes)}\n"
    )


def _uncertainty(record: ModelRecord) -> str:
    figures = record.figures
    before, after = (
        f"{fixed(figures[f'negative_log_likelihood_{when}'], 4)} nats and "
        f"{percent(figures[f'calibration_error_{when}'])} %"
        for when in ("before", "after")
    )
    true = "all true labels" if record.task == "multilabel" else "the true class"
    kept = (
        f"On the test split {percent(figures['kept'], 1)} % are kept, of which "
        f"{percent(figures['risk_of_kept'])} % are wrong."
        if "risk_of_kept" in figures
        else "The validation split does not support this risk: every prediction is rejected."
    )
    return (
        "## Uncertainty\n\n"
        f"- Probabilities are divided by the temperature {fixed(record.temperature, 3)}, fitted on "
        "the validation split (Guo et al., 2017). Negative log-likelihood and calibration error on "
        f"the test split: {before} before, {after} after.\n"
        f"- Conformal sets (LAC; Sadinle et al., 2019) for a coverage of {level(COVERAGE)}, chosen "
        f"on the validation split, hold {true} of {percent(figures['set_coverage'], 1)} % "
        f"of the test images and {fixed(figures['set_size'], 2)} classes on average. What is "
        "predicted always is in its set.\n"
        f"- Rejection for a risk of {level(RISK)} (SGR; Geifman and El-Yaniv, 2017; exceeded with "
        f"a probability of at most 5 %): {kept}\n\n"
        "Other coverages and risks can be chosen when predicting.\n"
    )


def _limits(record: ModelRecord, metrics: Mapping[str, Any]) -> Iterator[str]:
    side = record.images.resolution
    yield (
        "It knows its classes only: an image of anything else gets one of them, perhaps with high "
        "confidence."
    )
    yield (
        "Images from another scanner, stain, preparation or population are classified worse, and "
        "neither the probabilities nor the sets nor the rejection hold for them: all of these "
        "suppose images drawn as those of the validation split were."
    )
    yield (
        f"A file is resized as a whole to {side} × {side} pixels, its aspect ratio is not kept: it "
        "has to be framed as the images of the training set are (`--crop SHARE` uses its middle)."
    )
    chosen = "the epoch, " if record.origin.checkpoint == "best" else ""
    seeds = "the seed, " if len(record.origin.seeds) > 1 else ""
    yield (
        f"The validation split has chosen {chosen}{seeds}the temperature and the thresholds, which "
        "makes it a little too easy; the figures above are those of the test split, which has "
        "chosen nothing."
    )
    if record.shots is not None:
        yield (
            f"The circuit's values are estimated from {count(record.shots)} shots: predictions "
            "differ from the figures by what was drawn."
        )
    shared = sum(pair["images"] for pair in metrics["dataset"]["shared_images"])
    if shared:
        yield f"{count(shared)} images are, byte for byte, in more than one split."

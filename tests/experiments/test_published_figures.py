"""The papers' figures as they were published: every number again, typed from the documents."""

import pytest

from hqnn_jax.experiments import hqcnn2025, hqnn2026, lean2025, radhi2025
from hqnn_jax.experiments.aml2026 import report as aml2026_report


def _percent(figures):
    return {name: pytest.approx(100 * value, abs=1e-9) for name, value in figures.items()}


# --- radhi2025 ---


@pytest.mark.parametrize(
    ("split", "accuracy", "macro_f1", "weighted_f1", "cohen_kappa"),
    [
        ("test", 96.58, 96.52, 96.65, 96.15),
        ("validation", 96.90, 96.69, 96.87, 96.39),
        ("train", 99.11, 99.12, 99.11, 99.05),
    ],
)
def test_radhi2025(split, accuracy, macro_f1, weighted_f1, cohen_kappa):
    assert _percent(radhi2025.PUBLISHED.figures[split]) == {
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "weighted_f1": weighted_f1,
        "cohen_kappa": cohen_kappa,
    }


def test_radhi2025_table_6_is_of_the_validation_split():
    # basophil, eosinophil, erythroblast, immature granulocytes, lymphocyte, monocyte, neutrophil,
    # platelet: images, precision, recall, F1, and “accuracy”, which is the recall
    table = [
        (122, 90.84, 97.54, 94.07, 97.54),
        (312, 100.00, 99.68, 99.84, 99.68),
        (155, 93.37, 100.00, 96.57, 100.00),
        (290, 97.67, 86.90, 91.97, 86.90),
        (122, 95.24, 98.36, 96.77, 98.36),
        (143, 96.55, 97.90, 97.22, 97.90),
        (333, 96.20, 98.80, 97.48, 98.80),
        (235, 100.00, 99.15, 99.57, 99.15),
    ]
    published = radhi2025.PUBLISHED
    assert published.per_class_split == "validation"
    assert sum(published.supports.values()) == 1712 == published.task.images["validation"]
    assert sorted(published.per_class) == sorted(published.supports) == list(range(8))
    for label, (images, precision, recall, f1, accuracy) in enumerate(table):
        assert published.supports[label] == images
        expected = {"precision": precision, "recall": recall, "f1": f1}
        assert _percent(published.per_class[label]) == expected
        assert recall == accuracy


def test_radhi2025_other_figures():
    published = radhi2025.PUBLISHED
    assert published.train_minutes == 1386
    assert published.task.images == {"train": 373 * 32, "validation": 1712, "test": 3421}
    assert radhi2025.BEST_EPOCH == 61
    assert pytest.approx(0.9720) == radhi2025.BEST_VALIDATION_ACCURACY
    assert _percent(published.other_accuracies) == {
        "ResNet-18 (28 px), MedMNIST": 95.8,
        "ResNet-18 (224 px), MedMNIST": 96.3,
        "ResNet-50 (28 px), MedMNIST": 95.6,
        "ResNet-50 (224 px), MedMNIST": 95.0,
        "auto-sklearn, MedMNIST": 87.8,
        "AutoKeras, MedMNIST": 96.1,
        "Google AutoML Vision, MedMNIST": 96.6,
    }
    quoted = sorted(100 * value for value in published.quoted_accuracies.values())
    assert quoted == pytest.approx([42.4, 97.77, 98.63, 98.73, 98.79, 99.12, 99.91])


# --- hqnn2026 ---


@pytest.mark.parametrize(("middle", "macro_f1"), [("quantum", 98.69), ("none", 98.54)])
def test_hqnn2026_publishes_macro_f1_and_no_accuracy(middle, macro_f1):
    published = hqnn2026.PUBLISHED[middle]
    assert list(published.figures) == ["test"]
    assert _percent(published.figures["test"]) == {"macro_f1": macro_f1}
    assert published.task.dataset == "pbc"
    # The division of the images is not published: no split can be compared.
    assert not published.task.images
    assert pytest.approx(3.7) == 100 * hqnn2026.PUBLISHED_GAIN


# --- aml2026 ---


def test_aml2026():
    assert {name: tuple(row) for name, row in aml2026_report.PUBLISHED.items()} == {
        "cnn": (0.984, 745, 0.19),
        "dense": (0.920, 0.47, 0.001),
        "equilibrium_propagation": (0.864, 89.4, 0.13),
        "vqc_cobyla": (0.830, 180, 1.0),
    }
    assert aml2026_report.PUBLISHED_AT_50 == {"vqc_cobyla": 0.83, "cnn": 0.92}
    assert aml2026_report.PUBLISHED_SIZE == 250
    # No dataset has the published labels: nothing is ever subtracted from these figures.
    assert aml2026_report.TASK.dataset is None


# --- hqcnn2025 ---


@pytest.mark.parametrize(
    ("name", "labels", "accuracy", "auc", "images", "classes", "macro", "benchmark"),
    [
        (
            "bloodmnist", (1, 2), 99.12, 99.91, 3421,
            [(99, 100, 99, 2486), (99, 98, 98, 935)], (99, 99, 99), (72.60, 88.64),
        ),
        (
            "organamnist", (1, 2), 98.84, 99.00, 17778,
            [(99, 100, 99, 16201), (97, 90, 93, 1577)], (98, 95, 96), (97.62, 99.29),
        ),
        (
            "pathmnist", (0, 1), 97.83, 100.00, 7180,
            [(99, 97, 98, 4995), (94, 99, 97, 2185)], (97, 98, 97), (68.99, 93.00),
        ),
    ],
)  # fmt: skip
def test_hqcnn2025(name, labels, accuracy, auc, images, classes, macro, benchmark):
    published, thesis = hqcnn2025.PUBLISHED[name], hqcnn2025.THESIS[name]
    assert _percent(published.figures["test"]) == {
        "accuracy": accuracy,
        "macro_f1": macro[2],
        "roc_auc": auc,
    }
    assert published.task.dataset == name
    assert published.task.positive_labels == hqcnn2025.POSITIVE_LABELS[name] == labels
    assert published.task.images == {"test": images}
    assert published.per_class_split == "test"
    for label, (precision, recall, f1, support) in enumerate(classes):
        expected = {"precision": precision, "recall": recall, "f1": f1}
        assert _percent(published.per_class[label]) == expected
        assert published.supports[label] == support
    assert sum(published.supports.values()) == images
    assert tuple(100 * value for value in thesis.macro) == pytest.approx(macro)
    assert tuple(100 * value for value in thesis.benchmark) == pytest.approx(benchmark)


@pytest.mark.parametrize("name", ["bloodmnist", "organamnist", "pathmnist"])
def test_each_dataset_of_hqcnn2025_prints_its_own_supports(name):
    notes = " ".join(hqcnn2025.PUBLISHED[name].notes)
    supports = {key: f"{value.classes[1].support:,}" for key, value in hqcnn2025.THESIS.items()}
    assert supports[name] in notes
    assert not any(supports[other] in notes for other in supports if other != name)


# --- lean2025 ---


def test_lean2025():
    # accuracy, parameters in millions, seconds, precision, F1
    assert {name: tuple(row) for name, row in lean2025.PUBLISHED.items()} == {
        "cnn": (0.9998, 0.53, 457, 0.9999, 0.9999),
        "hybrid": (0.9989, 0.04, 533, 0.9990, 0.9990),
        "resnet18": (0.9997, 11.17, 5568, 0.9998, 0.9998),
        "vgg16": (0.9928, 134.28, 24631, 0.9930, 0.9929),
    }
    assert not lean2025.TASK.images


# --- citations ---


def test_references_are_those_of_the_documents():
    assert radhi2025.REFERENCE == "Radhi et al., 2025"
    assert hqnn2026.REFERENCE.startswith("arXiv 2605.23324")
    assert "Comilla University, 2025" in hqcnn2025.REFERENCE
    assert "arXiv" not in hqcnn2025.REFERENCE
    assert (
        lean2025.REFERENCE
        == "Hasan et al.; the hybrid follows LCQHNN (Liu et al., arXiv 2412.02059)"
    )

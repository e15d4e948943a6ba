"""Tables that several papers' reports share."""

import numpy as np

from hqnn_jax.evaluation.published import Published, PublishedTask
from hqnn_jax.experiments.paper import PaperArm, Runs
from hqnn_jax.experiments.tables import published_table
from hqnn_jax.runs.finished import load_run


def test_a_difference_needs_the_same_data_in_papers_reports_too(make_run):
    runs = Runs({"ours": load_run(make_run("ours", synthetic=False))}, {})
    arms = (PaperArm("ours", "Ours", "quickstart"),)

    def row(images):
        task = PublishedTask("BloodMNIST", "bloodmnist", images={"test": images})
        published = Published("t", "r", task, {"test": {"macro_f1": 0.5}})
        (row,) = published_table(arms, runs, {"ours": published}).rows
        return row

    ours = np.mean([entry["test"]["macro_f1"] for entry in runs.finished["ours"].metrics["seeds"]])
    same, other = row(55), row(3421)
    assert same[:5] == other[:5] == ("Ours", "BloodMNIST", "test", "Macro F1", "50.00")
    assert same[5] == other[5]
    assert same[5].startswith(f"{100 * ours:.2f} ± ")
    assert same[6] == f"{100 * (ours - 0.5):+.2f}".replace("-", "−")
    assert other[6] == "55 images here, 3,421 there"


def test_nothing_stands_beside_synthetic_figures(make_run):
    runs = Runs({"ours": load_run(make_run("drawn", synthetic=True))}, {})
    task = PublishedTask("drawn cells", "synthetic_cells", images={"test": 55})
    published = Published("t", "r", task, {"test": {"accuracy": 0.5}})
    (row,) = published_table(
        (PaperArm("ours", "Ours", "quickstart"),), runs, {"ours": published}
    ).rows
    assert row[4:] == ("50.00", "—", "synthetic cells")

"""A small study; results of one that does not exist, and their report."""

from html.parser import HTMLParser

import pytest

from hqnn_jax.ablation.file import load_ablation
from hqnn_jax.ablation.plan import Plan
from hqnn_jax.ablation.report import write_reports
from hqnn_jax.ablation.work import Worker
from tests.ablation import results_factory as factory
from tests.ablation.studies import BASE


class Page(HTMLParser):
    """Collects tags in order, visible text, table rows and the sources of pictures."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.sources, self.words = [], [], [], []
        self._cell = False
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        self._cell = tag in ("td", "th")
        if self._cell:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._cell = False

    def handle_data(self, data):
        self.words.append(data)
        if self._cell:
            self.rows[-1][-1] += data

    def row(self, *cells):
        return next(row for row in self.rows if row[: len(cells)] == list(cells))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "ablation_cache"))
    monkeypatch.delenv("HQNN_DATA_DIR", raising=False)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(BASE)
    return path


@pytest.fixture
def plan(file):
    return lambda *arguments: Plan.of("tiny", load_ablation(file, arguments))


@pytest.fixture
def trained(monkeypatch):
    """The names of all work performed in this process."""
    performed = []
    perform = Worker.perform

    def counting(self, work):
        performed.append(str(work))
        return perform(self, work)

    monkeypatch.setattr(Worker, "perform", counting)
    return performed


@pytest.fixture(scope="module")
def results():
    return factory.eight_arms()


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports") / "not" / "there"
    assert write_reports(results, folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def title(figure):
    return figure.get_suptitle()

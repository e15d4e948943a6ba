"""Results of a study that does not exist, and their report."""

from html.parser import HTMLParser

import pytest

from hqnn_jax.ablation.report import write_reports
from tests.ablation import results_factory as factory


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

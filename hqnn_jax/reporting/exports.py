"""Tables for other programs: CSV with every digit, and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence

from hqnn_jax.text import one_line

Record = Mapping[str, str | int | float | None]
"""Column -> value; None where there is none."""


def to_csv(columns: Sequence[str], records: Sequence[Record]) -> str:
    """Write records as CSV with a header; None is an empty cell, floats are exact.

    Text that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(_csv_cell, columns))
    writer.writerows([_csv_cell(record.get(column)) for column in columns] for record in records)
    return file.getvalue()


_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _csv_cell(value: str | int | float | None) -> str | int | float | None:
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def to_latex(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Write a tabular that needs `\usepackage{booktabs}`; text is escaped."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    return "\n".join(
        (
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule", line(columns), r"\midrule", *map(line, rows), r"\bottomrule",
            r"\end{tabular}", "",
        )
    )  # fmt: skip


_LATEX: Mapping[int, str] = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    # At the start of a row a bracket would be read as the length of the row break before it.
    "[": "{[}", "]": "{]}",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "π": r"$\pi$",
    "∞": r"$\infty$", "–": "--", "—": "---", "…": r"\ldots{}", "’": "'", "‘": "`", "“": "``",
    "”": "''",
})  # fmt: skip


def escape_latex(text: str) -> str:
    """Write text so that LaTeX prints it as it is, on one line."""
    return one_line(text).translate(_LATEX)

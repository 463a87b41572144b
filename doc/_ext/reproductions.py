# SPDX-License-Identifier: BSD-3-Clause
"""Tables of reproduced results, rendered from the stored files.

``.. reproduction:: colide`` shows ``asv_bench/results/colide.json``; with the option
``:recipe: A`` only that part, without the particulars; with ``:pivot:`` our learners as
lines and the recipes as columns; with ``:measure: SHD`` (or ``CPU s``) all learners as
lines in blocks of equal size, ``:sizes: 50`` for some sizes only, ``:brief:`` without
standard deviations; ``:particulars:`` tells only what the table was made with.
``.. reproduction-overview::`` is one line a file. No figure stands in the text of the
documentation.
"""

import json
import statistics
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList

RESULTS = Path(__file__).resolve().parents[2] / "asv_bench" / "results"
EMPTY = "–"


def figure(value):
    """Return a number as short text."""
    if value is None:
        return EMPTY
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.1g}" if 0 < abs(value) < 1e-3 else f"{value:.4g}"


def seconds(value):
    """Return CPU seconds as text: two significant digits."""
    return EMPTY if not value else f"{value:.2g}"


def no_break(text):
    """Return a heading that is not broken at spaces and hyphens."""
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace(
        "-", "\N{NON-BREAKING HYPHEN}"
    )


def seed_words(seeds):
    """Return ``seeds 1–10`` and the like."""
    if not seeds:
        return ""
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]}–{seeds[-1]}"
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))


def lines_of(row):
    """Yield who, name, measures and CPU seconds of every line of a row."""
    if row["paper"]:
        yield "published", row["paper"]["source"], row["paper"]["measures"], None
    ours = row["ours"]
    who = "" if ours["name"] == "no edges" else "skpapers"
    yield who, ours["name"], ours["measures"], ours["cpu_seconds"]
    for peer in row["peers"]:
        yield "peer", peer["name"], peer["measures"], peer["cpu_seconds"]


def blocks_of(rows):
    """Group consecutive rows on the same data."""
    blocks = []
    for row in rows:
        key = row["data"], row["n_samples"], tuple(row["seeds"])
        if not blocks or blocks[-1][0] != key:
            blocks.append((key, []))
        blocks[-1][1].append(row)
    return blocks


def recipes_of(rows):
    """Group rows by their recipe, in order of appearance."""
    recipes = {}
    for row in rows:
        recipes.setdefault(row["recipe"], []).append(row)
    return recipes.values()


def cell(*children, classes=()):
    """Return a table cell."""
    entry = nodes.entry("", *children)
    entry["classes"] += classes
    return entry


def text_cell(text, strong=False, classes=()):
    """Return a table cell with text."""
    inline = nodes.strong(text, text) if strong else nodes.Text(text)
    return cell(nodes.paragraph("", "", inline), classes=classes)


def build_table(rows):
    """Return a table: a line of the data, then a line for each learner."""
    labels = list(
        dict.fromkeys(
            label
            for row in rows
            for _, _, measures, _ in lines_of(row)
            for label in measures
        )
    )
    head = ["", "learner", *[no_break(x) for x in labels], no_break("CPU s")]
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead(
        "",
        nodes.row(
            "",
            *[text_cell(x, classes=["number"] * (k > 1)) for k, x in enumerate(head)],
        ),
    )
    body = nodes.tbody()
    for (data, n_samples, seeds), block in blocks_of(rows):
        about = [data, f"n = {n_samples}" if "n =" not in data else ""]
        about = ", ".join(filter(None, [*about, seed_words(list(seeds))]))
        first = text_cell(about, classes=["data"])
        first["morecols"] = len(head) - 1
        body += nodes.row("", first)
        for row in block:
            for who, name, measures, cpu in lines_of(row):
                ours = who == "skpapers"
                label = nodes.literal(name, name) if ours else nodes.Text(name)
                line = nodes.row(
                    "",
                    text_cell(who),
                    cell(nodes.paragraph("", "", label)),
                    *[
                        text_cell(figure(measures.get(x)), ours, ["number"])
                        for x in labels
                    ],
                    text_cell(seconds(cpu), classes=["number"]),
                )
                line["classes"].append(f"{who or 'reference'}-line")
                body += line
    group += body
    return nodes.table("", group, classes=["reproduction"], align="left")


def build_pivot(rows):
    """Return a table with our learners as lines and the recipes as columns."""
    recipes, lines = [], {}
    for row in rows:
        if row["recipe"] not in recipes:
            recipes.append(row["recipe"])
        for label, value in row["ours"]["measures"].items():
            key = label != "SHD", row["ours"]["name"], label
            lines.setdefault(key, {})[row["recipe"]] = value
    group = nodes.tgroup(cols=1 + len(recipes))
    group += [nodes.colspec(colwidth=1) for _ in range(1 + len(recipes))]
    head = [text_cell(text, classes=["number"]) for text in recipes]
    group += nodes.thead("", nodes.row("", text_cell(""), *head))
    body = nodes.tbody()
    for other, name, label in sorted(lines, key=lambda key: not key[0]):
        values = lines[other, name, label]
        shown = nodes.Text(label if other else name)
        if not other and "(" in name:
            shown = nodes.literal(name, name)
        cells = [
            text_cell(figure(values.get(recipe)), classes=["number"])
            for recipe in recipes
        ]
        body += nodes.row("", cell(nodes.paragraph("", "", shown)), *cells)
    group += body
    return nodes.table("", group, classes=["reproduction"], align="left")


CPU = "CPU s"
REASONS = {None: "", "not run": "…"}  # any other note is a limit that was passed


def short(value, digits):
    """Return a number with so many significant digits, large ones as integers."""
    return f"{value:.0f}" if value >= 10**digits else f"{value:.{digits}g}"


def spread_words(values, n_draws, brief):
    """Return ``mean ± standard deviation``, and how many draws if not all."""
    text = short(statistics.fmean(values), 3)
    if len(set(values)) > 1 and not brief:
        text += f" ± {short(statistics.stdev(values), 2)}"
    return text if len(values) == n_draws else f"{text} ({len(values)})"


def place(entry, measure, n_draws, brief=False):
    """Return the mean of a measure (None for a dash) and what its cell shows."""
    note = entry.get("note")
    if note not in REASONS and not entry["seeds"]:
        star = "\N{ASTERISK}" if note.startswith("expected") else ""
        limit = float(note.partition("> ")[2].partition(" ")[0]) / n_draws
        return None, (f"> {limit:.0f}" if measure == CPU else EMPTY) + star
    if measure == CPU:
        mean = entry["cpu_seconds"]
        shown = seconds(mean)
        if len(entry["seeds"]) not in (0, n_draws):
            shown += f" ({len(entry['seeds'])})"
    else:
        mean = entry["measures"].get(measure)
        values = entry["draws"].get(measure)
        shown = spread_words(values, n_draws, brief) if values else EMPTY
    return mean, shown if mean is not None else REASONS.get(note) or EMPTY


def learners_of(rows):
    """Return the learners: name to who it is and its entry of each recipe."""
    learners = {}
    for row in rows:
        entries = [("skpapers", row["ours"]), *(("peer", x) for x in row["peers"])]
        for who, entry in entries:
            name = entry["name"] if who == "skpapers" else entry["name"].split(" (")[0]
            who = "reference" if name == "no edges" else who
            learners.setdefault(name, (who, {}))[1][row["recipe"]] = entry
    return learners


def build_comparison(rows, measure, brief=False):
    """Return a table of one measure: learners as lines, recipes as columns."""
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    n_draws = len(rows[0]["seeds"])
    group = nodes.tgroup(cols=1 + len(recipes))
    group += [nodes.colspec(colwidth=1) for _ in range(1 + len(recipes))]
    head = [text_cell(text, classes=["number"]) for text in recipes]
    group += nodes.thead("", nodes.row("", text_cell(measure), *head))
    body = nodes.tbody()
    for size in dict.fromkeys(row["n_features"] for row in rows):
        first = text_cell(f"d = {size}", classes=["data"])
        first["morecols"] = len(recipes)
        body += nodes.row("", first)
        body += comparison_lines(
            [row for row in rows if row["n_features"] == size],
            recipes,
            measure,
            n_draws,
            brief,
        )
    group += body
    classes = ["reproduction", "comparison"]
    return nodes.table("", group, classes=classes, align="left")


def comparison_lines(rows, recipes, measure, n_draws, brief):
    """Return the lines of one size; the lowest mean of a column is bold."""
    lines = []
    for name, (who, entries) in learners_of(rows).items():
        if who != "reference" or measure != CPU:
            cells = [
                place(entries[recipe], measure, n_draws, brief) for recipe in recipes
            ]
            lines.append((name, who, cells))
    lowest = [
        min(
            (
                cells[k][0]
                for _, who, cells in lines
                if who != "reference" and cells[k][0] is not None
            ),
            default=None,
        )
        for k in range(len(recipes))
    ]
    result = []
    for name, who, cells in lines:
        ours = who == "skpapers"
        shown = nodes.literal(name, name) if ours else nodes.Text(name)
        best = [
            who != "reference" and mean is not None and mean == low
            for (mean, _), low in zip(cells, lowest, strict=True)
        ]
        line = nodes.row(
            "",
            cell(nodes.paragraph("", "", shown)),
            *[
                text_cell(text, strong, ["number"])
                for (_, text), strong in zip(cells, best, strict=True)
            ],
        )
        line["classes"].append(f"{who}-line")
        result.append(line)
    return result


def targets_of(rows):
    """Return a list that says which targets are met."""
    items = nodes.bullet_list()
    for row in rows:
        for goal in row["targets"]:
            sign = {"<=": "≤", ">=": "≥"}[goal["relation"]]
            verdict = "met" if goal["met"] else "not met"
            text = (
                f"{row['data']}: {goal['measure']} {figure(goal['value'])}, asked "
                f"{sign} {figure(goal['limit'])}: {verdict}"
            )
            items += nodes.list_item("", nodes.paragraph(text, text))
    return items


class ReproductionDirective(Directive):
    """What both directives share: reading stored results, parsing text."""

    def load(self, path):
        """Return a stored report; a change of the file rebuilds the page."""
        self.state.document.settings.env.note_dependency(str(path))
        return json.loads(path.read_text(encoding="utf-8"))

    def parse(self, lines):
        """Return nodes of reStructuredText."""
        container = nodes.container()
        self.state.nested_parse(StringList(lines, "results"), 0, container)
        return container.children


class Reproduction(ReproductionDirective):
    """The table of one stored report, or of one of its recipes."""

    required_arguments = 1
    option_spec = {
        "recipe": directives.unchanged,
        "pivot": directives.flag,
        "measure": directives.unchanged,
        "sizes": directives.positive_int_list,
        "brief": directives.flag,
        "particulars": directives.flag,
    }

    def run(self):
        """Return the table and, for a whole report, its particulars."""
        report = self.load(RESULTS / f"{self.arguments[0]}.json")
        recipe = self.options.get("recipe")
        if "pivot" in self.options:
            return [build_pivot(report["rows"])]
        if "particulars" in self.options:
            return [*self.parse(_about(report)), *self.closing(report)]
        if "measure" in self.options:
            rows, sizes = report["rows"], self.options.get("sizes")
            if sizes:
                rows = [row for row in rows if row["n_features"] in sizes]
            brief = "brief" in self.options
            return [build_comparison(rows, self.options["measure"], brief)]
        if recipe:
            rows = [row for row in report["rows"] if row["recipe"] == recipe]
            if not rows:
                raise self.error(f"no recipe {recipe!r} in {self.arguments[0]}.json")
            return [build_table(rows)]
        return [
            *self.parse(_about(report)),
            *[build_table(rows) for rows in recipes_of(report["rows"])],
            *self.closing(report),
        ]

    def closing(self, report):
        """Return targets, environment and command."""
        targets = targets_of(report["rows"])
        result = []
        if len(targets):
            result += [nodes.paragraph("", "Targets that were set beforehand:")]
            result.append(targets)
        packages = ", ".join(
            f"{k} {v}" for k, v in report["environment"]["packages"].items()
        )
        environment = report["environment"]
        return result + self.parse(
            [
                f"Run on {environment['date']} with Python {environment['python']}, "
                f"{packages}; {environment['cpu']}, one thread. Again: "
                f"``make reproduce METHOD={report['method']}``.",
            ]
        )


def _about(report):
    names = ", ".join(f":py:obj:`~{name}`" for name in report["estimators"])
    reference = report["reference"]
    return [f"`{reference['text']} <{reference['url']}>`__. Shown: {names}."]


class Overview(ReproductionDirective):
    """One line a report: publication, public names, targets met."""

    def run(self):
        """Return the table."""
        lines = [
            ".. list-table::",
            "   :header-rows: 1",
            "   :align: left",
            "",
            "   * - Publication",
            "     - Here",
            "     - Figures with a published counterpart",
            "     - Targets met",
        ]
        for path in sorted(RESULTS.glob("*.json")):
            report = self.load(path)
            names = ", ".join(f":py:obj:`~{name}`" for name in report["estimators"])
            reference = report["reference"]
            goals = [goal for row in report["rows"] for goal in row["targets"]]
            met = sum(goal["met"] for goal in goals)
            lines += [
                f"   * - `{reference['text']} <{reference['url']}>`__",
                f"     - {names}",
                f"     - {_published(report['rows'])}",
                f"     - {f'{met} of {len(goals)}' if goals else EMPTY}",
            ]
        return self.parse(lines)


def _published(rows):
    pieces = []
    for row in rows:
        if row["paper"]:
            ours = row["ours"]
            figures = ", ".join(
                f"{label} {figure(value)} (here {figure(ours['measures'][label])})"
                for label, value in row["paper"]["measures"].items()
            )
            name = ours["name"].partition("(")[0]
            pieces.append(f"{row['data']}, {name}: {figures}")
    return "; ".join(dict.fromkeys(pieces)) or EMPTY


def setup(app):
    """Register the directives."""
    app.add_directive("reproduction", Reproduction)
    app.add_directive("reproduction-overview", Overview)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

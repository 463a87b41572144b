# SPDX-License-Identifier: BSD-3-Clause
"""The directive ``.. next-release::``: the fragments in doc/changes as lists."""

from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

FOLDER = Path(__file__).parents[1] / "changes"
TITLES = {"feature": "New", "efficiency": "Faster", "fix": "Fixed", "api": "Changed"}


def fragments(kind):
    """Return the paths of all fragments of a kind, sorted."""
    return sorted(FOLDER.glob(f"+*.{kind}.md"))


class NextRelease(Directive):
    """Write one list for each kind of change that has a fragment."""

    def run(self):
        """Return the lists, or a sentence if there is nothing new."""
        environment = self.state.document.settings.env
        result = []
        for kind, title in TITLES.items():
            paths = fragments(kind)
            if not paths:
                continue
            result.append(nodes.rubric(title, title))
            lines = []
            for path in paths:
                environment.note_dependency(str(path))
                text = _literals(path.read_text(encoding="utf-8").split())
                lines.append(f"- {text}")
            container = nodes.container()
            self.state.nested_parse(StringList(lines, str(FOLDER)), 0, container)
            result += container.children
        return result or [nodes.paragraph("", "Nothing yet.")]


def _literals(words):
    """Join words; a code span of Markdown becomes one of reStructuredText."""
    return " ".join(words).replace("``", "`").replace("`", "``")


def setup(app):
    """Register the directive."""
    app.add_directive("next-release", NextRelease)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

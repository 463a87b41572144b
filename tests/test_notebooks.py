"""The gallery's pages as notebooks: one runs, all of them are well formed."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = sorted(Path(__file__).parents[1].joinpath("examples").glob("*/plot_*.py"))
BLOCK = re.compile(r"^# %%(.*)$", re.MULTILINE)


def read_cells(script):
    """Return the text and the code of a gallery script in turn.

    The docstring and the comment at the head of each block are text, as in the
    documentation.
    """
    module, *blocks = BLOCK.split(script.read_text(encoding="utf-8"))
    cells = [("markdown", ast.get_docstring(ast.parse(module)))]
    for title, block in zip(blocks[::2], blocks[1::2], strict=True):
        lines = block.strip("\n").split("\n")
        n_text = next(
            (k for k, line in enumerate(lines) if not line.startswith("#")), len(lines)
        )
        text = "\n".join(line.removeprefix("#").strip() for line in lines[:n_text])
        cells.append(("markdown", f"{title}\n{text}".strip()))
        cells.append(("code", "\n".join(lines[n_text:]).strip()))
    return [(kind, text) for kind, text in cells if text]


def make_notebook(script):
    make = {
        "markdown": nbformat.v4.new_markdown_cell,
        "code": nbformat.v4.new_code_cell,
    }
    cells = [make[kind](text) for kind, text in read_cells(script)]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_well_formed(script):
    cells = read_cells(script)
    title, underline, *question = cells[0][1].split("\n")
    assert set(underline) == {"="}
    assert len(underline) == len(title)
    assert any("?" in line for line in question) or "?" in title
    assert cells[-1][0] == "markdown"
    assert cells[-1][1].startswith("What we saw")
    assert sum(kind == "code" for kind, _ in cells) >= 4
    for kind, text in cells:
        if kind == "code":
            ast.parse(text)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_notebook_runs(tmp_path):
    script = next(path for path in EXAMPLES if path.stem == "plot_sachs")
    notebook = make_notebook(script)
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    html = [out["data"].get("text/html", "") for out in outputs if "data" in out]
    # the estimator shows its parameters and links to its page
    shown = [page for page in html if "sk-top-container" in page]
    assert any("CoLiDE" in page and "nonequal" in page for page in shown)
    assert any("skpapers.causal.CoLiDE.html" in page for page in shown)
    # tables are tables, the graphs are pictures, and nothing complains
    assert sum("<table" in page and "dataframe" in page for page in html) >= 3
    assert sum("image/png" in out.get("data", {}) for out in outputs) >= 2
    assert [out for out in outputs if out.get("name") == "stderr"] == []

"""The pages list everything public, their examples run, their links are checked."""

import doctest
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from skpapers.utils.discovery import all_public

ROOT = Path(__file__).parents[1]
DOC = ROOT / "doc"
PAGES = sorted(p.relative_to(DOC) for p in DOC.glob("[!_]*.rst")) + sorted(
    p.relative_to(DOC) for p in DOC.glob("user_guide/*.rst")
)


@pytest.fixture
def check_links(monkeypatch):
    """The link checker that the documentation build runs."""
    monkeypatch.syspath_prepend(DOC)
    yield import_module("check_links")
    sys.modules.pop("check_links")


def names_in_api():
    """Return the dotted names in the lists of the API page."""
    names, module = [], None
    for line in (DOC / "api.rst").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\.\. currentmodule:: (\S+)", line):
            module = match[1]
        elif match := re.fullmatch(r"   ([A-Za-z]\w*)", line):
            names.append(f"{module}.{match[1]}")
    return names


def test_api_page_lists_every_public_name_once():
    names = names_in_api()
    assert sorted(names) == sorted(name for name, _ in all_public())


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_examples_of_pages_run(page):
    if "TopologicalSwapMLP" in (DOC / page).read_text(encoding="utf-8"):
        pytest.importorskip("torch")
    failed, _ = doctest.testfile(
        str(DOC / page),
        module_relative=False,
        encoding="utf-8",
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )
    assert failed == 0


def test_start_page_shows_six_lines():
    lines = (DOC / "index.rst").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith(">>> ") for line in lines) == 6


def test_every_reproduction_has_a_place():
    page = (DOC / "reproductions.rst").read_text(encoding="utf-8")
    shown = set(re.findall(r"^\.\. reproduction:: (\w+)", page, re.MULTILINE))
    scripts = {
        path.stem
        for path in (ROOT / "asv_bench" / "reproduce").glob("[!_]*.py")
        if "def run(" in path.read_text(encoding="utf-8")
    }
    stored = {path.stem for path in (ROOT / "asv_bench" / "results").glob("*.json")}
    assert shown == scripts == stored


def test_no_page_names_files_that_are_not_there():
    for page in PAGES:
        text = (DOC / page).read_text(encoding="utf-8")
        for target in re.findall(r":doc:`(?:[^`<]*<)?([^`>]+)>?`", text):
            path = (DOC / page).parent / target
            if "gallery" in path.parts:  # written when the pages are built
                example = ROOT / "examples" / Path(*target.partition("gallery/")[2:])
                assert example.with_suffix(".py").exists(), target
            else:
                assert any(path.with_suffix(s).exists() for s in (".rst", ".md")), (
                    target
                )


def test_changelog_fragments_are_well_formed():
    for path in (DOC / "changes").glob("*.md"):
        if path.name != "README.md":
            pattern = r"\+[a-z0-9-]+\.(feature|efficiency|fix|api)\.md"
            assert re.fullmatch(pattern, path.name), path.name
            assert path.read_text(encoding="utf-8").strip()


def test_link_checker_finds_what_is_broken(tmp_path, check_links, capsys):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text(
        '<h1 id="top-1">B</h1><a href="../a.html#here">back</a>'
    )
    good = '<p id="here"></p><a href="sub/b.html#top-1">b</a><a href="#here">me</a>'
    (tmp_path / "a.html").write_text(good + '<a href="https://example.org/x">out</a>')
    assert check_links.main(tmp_path) == 0
    bad = good + '<img src="no.png"><a href="sub/b.html#no">b</a><a href="#no">me</a>'
    (tmp_path / "a.html").write_text(bad)
    check_links.read_page.cache_clear()
    assert check_links.broken_links(tmp_path.resolve()) == [
        ("a.html", "no.png", "file"),
        ("a.html", "sub/b.html#no", "anchor"),
        ("a.html", "#no", "anchor"),
    ]
    assert check_links.main(tmp_path) == 1
    assert "3 broken links" in capsys.readouterr().out


def test_link_checker_refuses_an_empty_folder(tmp_path, check_links):
    assert check_links.main(tmp_path) == 1

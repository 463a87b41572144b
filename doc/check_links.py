# SPDX-License-Identifier: BSD-3-Clause
"""Check the links inside built pages: ``python doc/check_links.py doc/_build/html``.

Every relative link, image, script and style must lead to a file, and every fragment to
an element of that file. Links into the network are not followed.
"""

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Collects what a page links to and the names that it can be entered at."""

    def __init__(self):
        super().__init__()
        self.links, self.anchors = [], set()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if value is None:
                continue
            if name in ("href", "src"):
                self.links.append(value)
            elif name == "srcset":
                self.links += [part.split()[0] for part in value.split(",")]
            elif name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)


@cache
def read_page(path):
    """Return the links and the anchors of an HTML file."""
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page.links, page.anchors


def pages_of(root):
    """Return the pages below a folder, without the theme's templates."""
    pages = sorted(root.rglob("*.html"))
    return [page for page in pages if "_static" not in page.relative_to(root).parts]


def broken_links(root):
    """Return the broken links below a folder of built pages.

    Parameters
    ----------
    root : Path
        The folder.

    Returns
    -------
    list of (str, str, str)
        Page, link, and what is missing ("file" or "anchor").
    """
    broken = []
    for page in pages_of(root):
        for link in read_page(page)[0]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("data:"):
                continue
            path = unquote(parts.path)
            target = page if not path else (page.parent / path).resolve()
            if path.startswith("/"):
                target = root / path.lstrip("/")
            if target.is_dir():
                target = target / "index.html"
            missing = None
            if not target.exists():
                missing = "file"
            elif parts.fragment and target.suffix == ".html":
                anchor = unquote(parts.fragment)
                missing = None if anchor in read_page(target)[1] else "anchor"
            if missing and parts.fragment != "top":
                broken.append((str(page.relative_to(root)), link, missing))
    return broken


def main(folder):
    """Print the broken links of a folder; the exit status tells of any."""
    root = Path(folder).resolve()
    n_pages = len(pages_of(root))
    broken = broken_links(root)
    for page, link, missing in broken:
        print(f"{page}: {link} ({missing} missing)")
    print(f"{n_pages} pages, {len(broken)} broken links")
    return int(bool(broken) or n_pages == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

# SPDX-License-Identifier: BSD-3-Clause
"""Sphinx configuration: `python -m sphinx -b html -W doc doc/_build/html`."""

import os
import sys
from pathlib import Path

import matplotlib

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
matplotlib.use("agg")

import skpapers  # noqa: E402

project = "skpapers"
author = "The skpapers developers"
copyright = author
version = release = skpapers.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "mathml",  # doc/_ext: formulas without a script from the network
    "reproductions",  # doc/_ext: tables from asv_bench/results
    "changes",  # doc/_ext: fragments of the next release
]
exclude_patterns = ["_build", "_ext", "_templates", "changes", "**/README.md"]
templates_path = ["_templates"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
root_doc = "index"
# Docstrings inherited from scikit-learn refer to labels and terms of its own pages.
suppress_warnings = ["ref.ref", "ref.term"]

# A name in single backticks is a link where it can be resolved, else code.
default_role = "py:obj"
autosummary_generate = True
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the class template lists them
numpydoc_xref_param_type = False

# The build needs no network unless it is asked to link into other projects' pages.
if os.environ.get("SKPAPERS_DOC_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
    }

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "doc_module": ("skpapers",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"skpapers": None},
    "inspect_global_variables": True,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1e6,
    "write_computation_times": False,
    "matplotlib_animations": False,
    "plot_gallery": True,
    "abort_on_example_error": True,
    "parallel": 2,
    "default_thumb_file": str(HERE / "_static" / "logo.svg"),
}

html_theme = "pydata_sphinx_theme"
html_title = "skpapers"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_sidebars = {"whats_new": [], "reproductions": [], "installation": []}
html_theme_options = {
    "logo": {
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
        "text": "skpapers",
    },
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navbar_persistent": ["search-button"],
    "show_nav_level": 2,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}

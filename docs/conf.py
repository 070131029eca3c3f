"""How `make docs` builds the site: Sphinx, with pages in Markdown and a reference of docstrings."""

from pathlib import Path
from shutil import copytree

from curio_persistence import __version__

project = "curio_persistence"
copyright = "the curio_persistence authors, Apache License 2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"Curio persistence {release}"
# The source is the whole repository, so that the README and the benchmarks are pages as well.
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "benchmarks/*.md"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Docstrings mark code with single backquotes.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = True
autodoc_default_options = {"members": True, "inherited-members": True}
python_use_unqualified_type_names = True


def setup(app):
    """Copy the pictures, which pages show by HTML: a light one or a dark one."""
    app.connect("build-finished", _copy_pictures)


def _copy_pictures(app, error):
    if error is None:
        copytree(
            Path(app.confdir, "pictures"), Path(app.outdir, "docs/pictures"), dirs_exist_ok=True
        )

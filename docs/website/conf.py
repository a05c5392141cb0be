"""Settings of Sphinx for the site; `python -m docs.website` runs it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bertie.version import VERSION

project = "bertie"
release = version = VERSION
language = "en"
extensions = ["myst_parser", "docs.website.formulas", "docs.website.chinese", "docs.website.searching"]
source_suffix = {".md": "markdown"}
root_doc = "index"
smartquotes = False  # "--flag" must keep its two hyphens
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 90
nitpick_ignore_regex = [("py:.*", r".*")]  # names in signatures; links in text are checked by myst

myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_fence_as_directive = ["math"]  # GitHub's form of formulas
myst_url_schemes = {"http": None, "https": None, "mailto": None, "built": "{{path}}"}
myst_heading_anchors = 6  # the same anchors as on GitHub
suppress_warnings = ["myst.header"]  # a page may begin below the first level

html_theme = "furo"
html_title = "bertie"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_search_language = "en+zh"
html_math_renderer = "mathml"
html_last_updated_fmt = None
highlight_language = "text"  # of blocks that name no language
pygments_style, pygments_dark_style = "friendly", "github-dark"
html_theme_options = {"top_of_page_buttons": [], "navigation_with_keys": False}

"""The documentation as a site: pages of docs/, generated reference pages, and search in English and Chinese.

Sphinx builds it, with the theme furo and myst-parser for Markdown: all three are maintained, install from PyPI without
a compiler, and the search works in files that a browser opens from disk. mkdocs has had no release since 2024, and
mkdocs-material is in maintenance; zensical 0.0.73, its successor, loads a script from another host for its search.
"""

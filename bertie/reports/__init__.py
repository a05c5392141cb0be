"""Standalone HTML pages of a run or an evaluation: no scripts from elsewhere, no account. Drawn as inline SVG.

To add a page: one file with a function from plain figures to text; writing it is the command's work.
"""

"""Build standalone HTML reports of a run or an evaluation, and model cards. Charts are inline SVG, without scripts.

To add a page, add a file with a function that returns its text from plain numbers. A command writes it to disk.
"""

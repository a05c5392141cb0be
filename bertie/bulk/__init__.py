"""Predict for a file of any length: rows in, the same rows with their predictions out, in constant memory.

`run.py` puts the parts together. A row that can't be used keeps its place and gets an error. This package doesn't know
tasks or models: it reads items by the task's reader and predicts by `inference`.
"""

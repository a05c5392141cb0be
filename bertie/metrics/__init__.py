"""Scores: pure functions of predictions and labels, without models, tasks or files.

To add one: write a function, and a test against an independent implementation.
"""

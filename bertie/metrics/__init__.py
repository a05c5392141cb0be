"""Scores as pure functions of predictions and truths; nothing here knows a model, a task or a file.

To add one: a function, and a test against an independent implementation.
"""

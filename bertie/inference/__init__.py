"""Run trained models: predict with any task, in batches of limited tokens, and evaluate predictions by labels.

This package doesn't train models or serve HTTP. A new task needs no change here.
"""

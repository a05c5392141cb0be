"""Use a model: predict with any task in batches bounded by tokens, and evaluate against labels.

Nothing here learns, and nothing here knows HTTP. A new task needs no change here.
"""

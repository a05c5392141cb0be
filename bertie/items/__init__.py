"""The items that tasks learn from and predict for, one file a kind: texts, words, questions and choices.

To add a kind, write its file here, a reader in `readers/`, and a task that takes it. `item.py` is the contract.
"""

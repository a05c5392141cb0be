"""One file for each rule by which weights are updated: adamw, lamb, muon, ... `--optimizer.name` takes the file's name.

``optimizer.py`` is the contract. To add one: write ``bertie/optimizers/NAME.py`` to it, with the class as
``OPTIMIZER``. The first line of the file's docstring is its help. ``tests/contracts`` finds it; a test of its step
belongs to ``tests/optimizers``.
"""

"""One file per start: a method that sets the first weights of a new model.

``start.py`` is the contract. To add one: write ``bertie/starts/NAME.py`` to it.
"""

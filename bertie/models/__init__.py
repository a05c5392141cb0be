"""One file per architecture: its settings with named sizes, its arrangement of ``nn`` parts, its foreign names.

``model.py`` is the contract. To add one: write ``bertie/models/NAME.py`` to it; ``NAME`` is then what a user types.
"""

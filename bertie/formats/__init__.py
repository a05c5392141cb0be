"""One file per disk format of a model: ``read(path) -> Bundle`` and ``write(bundle, path)``, strict and reversible.

``format.py`` is the contract. To add a format, write ``bertie/formats/NAME.py`` with these functions, and a round-trip
test.
"""

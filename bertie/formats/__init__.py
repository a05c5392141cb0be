"""One file per way a model lies on disk: ``read(path) -> Bundle`` and ``write(bundle, path)``, strict and reversible.

``format.py`` is the contract. To add one: write ``bertie/formats/NAME.py`` to it, with a round-trip test.
"""

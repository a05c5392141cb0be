"""One file for each architecture: its settings and sizes, its arrangement of ``nn`` parts, its Hugging Face names.

``model.py`` is the contract. To add an architecture, write ``bertie/models/NAME.py`` to it. Users then type ``NAME``.
"""

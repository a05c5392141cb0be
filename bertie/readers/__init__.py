"""Read labelled data into items: tables, CoNLL, SQuAD, multiple choice, data sets of the hub, Python's own tables.

A reader never guesses in silence. It records how it read a file (`reading.py`), and a later file is read the same way.
"""

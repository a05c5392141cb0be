"""The data of training and evaluation: labelled tables, and instances, pairs and masks drawn from a prepared corpus.

Every draw is a pure function of (seed, epoch, instance), so a resumed run needs only its step number.
To add a source, yield the items or plans that the loader already takes.
"""

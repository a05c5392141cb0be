"""What training and evaluation draw from: labelled tables, and the order, pairs and masks over a prepared corpus.

Everything drawn is a pure function of (seed, epoch, instance), so resume needs only a step number.
To add a source: yield the items or plans the loader already takes.
"""

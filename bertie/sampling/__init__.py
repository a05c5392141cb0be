"""Draw what a model learns from: instances of a corpus, masked tokens, and parts of a table, each by a seed alone.

Every choice is a pure function of (seed, epoch, instance), so that a run can stop and resume anywhere.
"""

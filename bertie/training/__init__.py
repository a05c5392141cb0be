"""Training: a loop that is a generator, and the optimizer, schedule, precision and checkpoints that it needs.

There are no callbacks: to act at a step, write an ``if`` around the loop. Settings are frozen dataclasses.
"""

"""Make a model learn: the loop is a generator; optimizer, schedule, precision and checkpoints stand around it.

No callbacks: to act at a step, write an ``if`` around the loop. Settings are frozen dataclasses beside their code.
"""

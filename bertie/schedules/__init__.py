"""One file for each course of the learning rate over a run: linear, cosine, ... `--schedule.shape` takes its name.

``schedule.py`` is the contract. To add one: write ``bertie/schedules/NAME.py`` to it, with the class as ``SCHEDULE``.
The first line of the file's docstring is its help, and ``tests/contracts`` finds it.
"""

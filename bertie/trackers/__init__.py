"""One file for each program that shows the figures of runs: tensorboard, wandb, mlflow. `--track` takes its name.

``tracker.py`` is the contract. To add one: write ``bertie/trackers/NAME.py`` to it, with the class as ``TRACKER``; it
is made without arguments, and imports the program's package in its methods. In Python, ``callbacks=[...]`` takes
objects of a class of your own.
"""

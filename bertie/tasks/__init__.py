"""One file per task: encode, head, loss, decode, score. Pre-training, fine-tuning and serving share these five verbs.

``task.py`` is the contract. To add one: write ``bertie/tasks/NAME.py`` to it; ``NAME`` is then what ``--task`` takes.
A task never names an architecture: it asks the encoder it is given for a stem.
"""

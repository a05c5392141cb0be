"""One file per task: encode, head, loss, decode, score. Pre-training, fine-tuning and serving share these five methods.

``task.py`` defines the contract. To add a task, write ``bertie/tasks/NAME.py``; ``--task NAME`` then selects it.
A task never names an architecture. The encoder makes the layers that its heads are built from, such as its pooler.
"""

"""One file per way to run a job, such as in several processes of this machine. No file here imports torch.

``runner.py`` is the contract. To add one: write ``bertie/runners/NAME.py`` to it.
"""

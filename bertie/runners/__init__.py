"""One file per way to run a job of N numbered shards: here, on a cluster, or as slice k of N. No torch.

``runner.py`` is the contract. To add one: write ``bertie/runners/NAME.py`` to it.
"""

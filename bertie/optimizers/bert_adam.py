"""AdamW as in the BERT paper's code, without bias correction."""

from __future__ import annotations

from bertie.optimizers._adam import Adam


class BertAdam(Adam):
    """Adam with decoupled decay and no bias correction."""

    peak = 1e-3  # AdamW's; not measured
    corrected = False


OPTIMIZER = BertAdam

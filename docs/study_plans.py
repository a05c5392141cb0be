"""The studies of pre-training: their questions, and the flags of their runs. `docs/studies.py` runs and draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MINI = "--model.size mini --model.dropout 0 --model.start paper --seed 0 --training.save-every 0"


@dataclass(frozen=True)
class Study:
    """The question of a study, and its runs."""

    title: str
    question: str
    clock: bool = False
    """Whether the runs had equal time, so that the x axis is minutes; otherwise they had equal tokens."""
    runs: Mapping[str, str] = field(default_factory=dict)
    """Label -> flags of `bertie pretrain`; empty if the runs are added one by one."""
    best_of: str = ""
    """A study of shorter runs; the best run of each kind (the first word of a label) is repeated here."""
    flags: str = ""
    """Flags of all runs."""
    pictured: str = ""
    """A suffix of the labels of the runs to draw, for studies in which the best six are not those to compare."""


RATES = {
    "adamw": ("5e-4", "1e-3", "2e-3"),
    "lamb": ("5e-3", "1e-2", "2e-2"),
    "muon": ("1e-3", "2e-3", "4e-3", "8e-3"),  # a fourth one, because the best of three was the highest
}
SHORT = "--model.size 2/128 --length 128 --batch-tokens 4096 --tokens 1000000 --training.save-every 0"
MASKS = {"15 %": "0.15", "30 to 15 %": "0.3", "60 to 15 %": "0.6", "90 to 15 %": "0.9"}
PEAKS = ("1.5e-3", "6e-3", "1.2e-2", "2.4e-2", "4.8e-2")
STUDIES = {
    "learning": Study(
        "Learning as transformers does, and in bf16",
        "Do the same weights learn the same from the same batches in transformers (fp32) and bertie (fp32 and bf16)?",
    ),
    "beginning": Study(
        "Both beginnings, trained by transformers and by bertie",
        "Is it the first weights or the training loop that leaves the plateau? BERT 2/128, masked LM + next sentence, "
        "one million tokens of news in sequences of 64, fp32, AdamW at 4e-3; seeds 0 to 2, in the picture seed 0.",
        pictured="seed 0",
    ),
    "mini": Study(
        "BERT-mini after 33 million tokens",
        "Which loss does the budget recipe reach on Wikipedia with 8,192 pieces, and which with the start `paper` and "
        "next sentence prediction (whose loss, 0.3 at the end, is part of the curve)? For comparison, naive Bayes on "
        "both neighbours has a mask_loss of 4.05.",
    ),
    "scaling": Study(
        "Sizes and tokens",
        "Which loss do encoders of several sizes reach with how many tokens of Wikipedia, with the defaults of `bertie "
        "pretrain` otherwise? `docs/scaling.py` fits to these runs the curve by which it chooses the size.",
    ),
    "rates": Study(
        "Learning rates for each optimizer",
        "Which learning rate is best for each optimizer on BERT-mini, in runs of four minutes?",
        clock=True,
        runs={
            f"{name} {rate}": f"--optimizer.name {name} --learning-rate {rate}"
            for name, rates in RATES.items()
            for rate in rates
        },
        flags=f"{MINI} --task pretraining --budget 4m",
    ),
    "masks": Study(
        "Mask rates",
        "How many tokens should be hidden? BERT 2/128, one million tokens of Wikipedia (8,192 pieces), masked words, "
        "`neighbours`, Muon at 6e-3. The rate falls to 15 % in all runs, and the dev figures are taken there. The "
        "picture has seed 0.",
        runs={
            f"{name}, seed {seed}": f"--mask-rate {rate} --settings mask_rate_end=0.15 --seed {seed}"
            for name, rate in MASKS.items()
            for seed in range(3)
        },
        flags=SHORT,
        pictured="seed 0",
    ),
    "peaks": Study(
        "Learning rates from `neighbours`",
        "How high may the rate be? The encoder and the text are those of the mask rates, with 30 to 15 % hidden.",
        runs={f"{rate}, seed {seed}": f"--learning-rate {rate} --seed {seed}" for rate in PEAKS for seed in range(3)},
        flags=SHORT,
        pictured="seed 0",
    ),
    "optimizers": Study(
        "AdamW, LAMB and Muon",
        "Which optimizer has the lowest loss after fifteen minutes, each at its best learning rate?",
        clock=True,
        best_of="rates",
        flags=f"{MINI} --task pretraining --budget 15m",
    ),
    "objectives": Study(
        "Masked LM and replaced token detection (ELECTRA)",
        "How do both losses fall in twenty minutes? They can't be compared; the scores after fine-tuning can.",
        clock=True,
        runs={
            "masked words": f"{MINI} --task masked_lm",
            "replaced tokens": f"{MINI} --model.architecture electra --task replaced_token",
        },
        flags="--optimizer.name adamw --budget 20m",
    ),
}

"""The page about many GPUs has the table that its script draws; its numbers of weights are those of the networks."""

import pytest

from bertie.formats.format import new
from bertie.models.bert import BertConfig
from bertie.tasks.pretraining import Pretraining
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from docs import scale


def test_the_table_is_what_the_script_draws() -> None:
    page = scale.PAGE.read_text(encoding="utf-8")
    assert scale.filled(page, scale.table(), scale.SCRIPT, scale.PAGE.name) == page, "run: python docs/scale.py draw"


def test_weights_are_counted_as_the_network_has_them() -> None:
    tokenizer = Tokenizer.build([*SPECIALS, "word"], lowercase=True)
    config = BertConfig.sized("base", vocab_size=scale.VOCABULARY)
    model = new(config, Pretraining(), tokenizer, seed=0).model
    assert scale.num_weights(*scale.SIZES["base"]) == sum(value.numel() for value in model.parameters())


def test_more_gpus_are_faster_but_less_efficient() -> None:
    for layers, width in scale.SIZES.values():
        steps = [scale.step_time(layers, width, gpus) for gpus in (1, *scale.GPUS)]
        assert steps[0].sums == 0.0
        totals = [step.total for step in steps]
        shares = [step.compute / step.total for step in steps]
        assert totals == sorted(totals, reverse=True) and shares == sorted(shares, reverse=True)
        assert steps[0].compute == pytest.approx(512 * steps[-1].compute)

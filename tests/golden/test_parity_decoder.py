"""The decoder is transformers' BertLMHeadModel and EncoderDecoderModel, and writes what its `generate` writes."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from bertie.batch import Batch
from bertie.errors import DataError
from bertie.formats import huggingface
from bertie.inference.predictor import load
from bertie.models import bert
from bertie.models._seq2seq_names import PairNames
from bertie.models.seq2seq import EncoderDecoderConfig
from bertie.nn.search import Search, write
from bertie.tasks.generation import Generation
from bertie.tasks.task import TaskModel
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(55))], lowercase=True)
START, END, NUM_ITEMS, LONGEST = TOKENIZER.start, TOKENIZER.separator, 200, 18
SHAPE: dict[str, Any] = {
    "vocab_size": TOKENIZER.vocab_size,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}


def scatter(model: Any) -> Any:
    """Draw every weight, biases and norms among them; the end is likely enough to come."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            parameter.copy_(torch.randn_like(parameter) * 0.2 + centre)
        bias = next(value for name, value in model.named_parameters() if name.endswith("cls.predictions.bias"))
        bias[END] += 3.0
    return model.eval()


def change(file: Path, values: dict[str, Any]) -> None:
    """Set values of a JSON object; None takes one away."""
    merged = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({name: value for name, value in merged.items() if value is not None}))


@pytest.fixture(scope="module")
def theirs() -> Any:
    source = transformers.BertConfig(**SHAPE, hidden_size=32)
    target = transformers.BertConfig(**SHAPE, hidden_size=32, is_decoder=True, add_cross_attention=True)
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(source, target)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = START, END, TOKENIZER.pad
    return scatter(transformers.EncoderDecoderModel(config))


@pytest.fixture(scope="module")
def ours(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("pair") / "theirs"
    theirs.save_pretrained(folder)
    save_tokenizer(TOKENIZER, folder)
    return huggingface.read(folder)


@pytest.fixture(scope="module")
def in_double(theirs: Any, ours: Any) -> tuple[Any, TaskModel]:
    """Return both in double precision: in single, beams that tie to a millionth change places by rounding."""
    return deepcopy(theirs).double(), deepcopy(ours.model).double()


@pytest.fixture(scope="module")
def sources() -> tuple[Tensor, Tensor]:
    """Return padded ids and mask."""
    draw = torch.Generator().manual_seed(4)
    lengths = torch.randint(1, LONGEST + 1, (NUM_ITEMS,), generator=draw)
    lengths[0] = LONGEST
    mask = (torch.arange(LONGEST)[None, :] < lengths[:, None]).long()
    return torch.randint(5, TOKENIZER.vocab_size, mask.shape, generator=draw) * mask, mask


def test_a_decoder_with_cross_attention(tmp_path: Path) -> None:
    """Another width of the memory is refused by BertLMHeadModel, so the memory is any (B, S, H)."""
    config = transformers.BertConfig(**SHAPE, hidden_size=24, is_decoder=True, add_cross_attention=True)
    model = scatter(transformers.BertLMHeadModel(config))
    draw = torch.Generator().manual_seed(1)
    memory = torch.randn(3, 9, 24, generator=draw)
    mask = (torch.arange(9)[None, :] < torch.tensor([9, 4, 1])[:, None]).long()
    tokens, read = torch.randint(5, 60, (3, 7), generator=draw), torch.ones(3, 7, dtype=torch.int64)
    read[1, 5:] = 0
    with torch.no_grad():
        expected = model(tokens, read, encoder_hidden_states=memory, encoder_attention_mask=mask).logits
    shape = bert.BertConfig.from_foreign(config.to_dict())
    encoder = EncoderDecoderConfig(shape, shape, START, END).build()
    network = TaskModel(encoder, Generation(max_target=40, max_new_tokens=40).head(encoder)).eval()
    names = PairNames(config=EncoderDecoderConfig, model_types=("encoder-decoder",), prefix="")
    state = {f"decoder.{name}": value for name, value in model.state_dict().items()}
    kept = {name: value for name, value in state.items() if name not in names.tied and name not in names.redundant}
    network.load_state_dict(names.from_foreign(kept), strict=False)
    source, target = Batch.from_padded(mask, mask), Batch.from_padded(tokens, read)
    with torch.no_grad():
        found = network.head.decoder(memory[mask.bool()], source, target).materialise()
    torch.testing.assert_close(found, expected[read.bool()], rtol=0, atol=1e-5)


def test_an_encoder_and_a_decoder(theirs: Any, ours: Any, sources: tuple[Tensor, Tensor]) -> None:
    ids, mask = sources
    read = torch.randint(5, TOKENIZER.vocab_size, (NUM_ITEMS, 9), generator=torch.Generator().manual_seed(2))
    batch, target = Batch.from_padded(ids, mask), Batch.from_padded(read)
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=mask, decoder_input_ids=read).logits
        decoder, memory = ours.model.head.decoder, ours.model.encoder(batch)
        found = target.unpack(decoder(memory, batch, target).materialise())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        cache = decoder.begin(memory, batch)
        for place in range(9):
            step, cache = decoder.step(read[:, place], cache)
            torch.testing.assert_close(step, expected[:, place], rtol=0, atol=1e-5)


THEIR_NAMES = {"no_repeat_ngram": "no_repeat_ngram_size", "num_texts": "num_return_sequences"}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"no_repeat_ngram": 2},
        {"num_beams": 4, "num_texts": 3},
        {"num_beams": 3, "length_penalty": 2.0, "min_new_tokens": 3},
        {"num_beams": 5, "length_penalty": 0.0, "no_repeat_ngram": 3, "num_texts": 2},
        {"num_beams": 2, "length_penalty": -1.0},
    ],
    ids=["greedy", "greedy without repeats", "beams", "long", "beams without repeats", "short"],
)
def test_the_same_texts(
    in_double: tuple[Any, TaskModel], sources: tuple[Tensor, Tensor], given: dict[str, Any]
) -> None:
    (theirs, ours), (ids, mask) = in_double, sources
    wishes = {THEIR_NAMES.get(name, name): value for name, value in given.items()}
    written = theirs.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=20,
        decoder_start_token_id=START,
        eos_token_id=END,
        pad_token_id=TOKENIZER.pad,
        **wishes,
    )
    expected = [row[1 : row.index(END) if END in row else None] for row in written.tolist()]
    batch = Batch.from_padded(ids, mask)
    with torch.inference_mode():
        memory, search = ours.encoder(batch), Search(max_new_tokens=20, **given)
        found = write(ours.head.decoder, memory, batch, search, start=START, end=END)
    texts = [text for item in found for text in item]
    assert [list(text.tokens) for text in texts] == expected
    assert len({text.tokens for text in texts}) > 8
    assert any(text.ended for text in texts)
    assert given.get("length_penalty") != 2.0 or not all(text.ended for text in texts)  # both kinds of stopping occur


def test_the_folder_goes_there_and_back(theirs: Any, ours: Any, sources: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    huggingface.write(ours, tmp_path / "ours")
    again, report = transformers.EncoderDecoderModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert {kind: keys for kind, keys in report.items() if keys} == {}
    before = {name: value for name, value in theirs.state_dict().items() if "pooler" not in name}
    after = again.state_dict()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []
    twice = huggingface.read(tmp_path / "ours")
    assert (twice.task, twice.config, twice.notes) == (ours.task, ours.config, ())
    ids, mask = sources
    settings = again.generation_config
    assert (settings.decoder_start_token_id, settings.eos_token_id, settings.pad_token_id) == (START, END, 0)
    first = again.generate(input_ids=ids[:1], attention_mask=mask[:1])[0].tolist()
    written = ours.task.adjusted({"max_new_tokens": settings.max_new_tokens})
    batch = Batch.from_padded(ids[:1], mask[:1])
    with torch.inference_mode():
        memory = ours.model.encoder(batch)
        ((found,),) = write(ours.model.head.decoder, memory, batch, written, start=START, end=END)
    assert list(found.tokens) == first[1 : first.index(END) if END in first else None]


FOLLOWED: list[dict[str, Any]] = [
    {"num_beams": 3, "max_new_tokens": 9, "length_penalty": 0.5},
    {"max_length": 7, "min_length": 4},
    {"num_beams": 2, "no_repeat_ngram_size": 2, "num_return_sequences": 2, "min_new_tokens": 3, "max_new_tokens": 8},
    {"temperature": 0.5, "top_k": 3, "max_new_tokens": 5},  # for drawing, and nothing is drawn
]


@pytest.mark.parametrize("place", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("said", FOLLOWED)
def test_what_the_folder_says_of_writing_is_followed(
    said: dict[str, Any], place: str, theirs: Any, tmp_path: Path
) -> None:
    theirs.save_pretrained(tmp_path)
    save_tokenizer(TOKENIZER, tmp_path)
    if place == "generation_config.json":
        ids = {"decoder_start_token_id": START, "eos_token_id": END, "pad_token_id": TOKENIZER.pad}
        (tmp_path / place).write_text(json.dumps({**ids, **said}))
        change(tmp_path / "config.json", dict.fromkeys(ids))  # what stands in one file need not stand in the other
    else:
        (tmp_path / "generation_config.json").unlink(missing_ok=True)
        change(tmp_path / place, said)
    predictor = load(tmp_path, device="cpu")
    for text in ("piece1 piece2 piece3", "piece9"):
        ids_of = torch.tensor(TOKENIZER.pack([text], max_length=30).tokens)[None]
        ends = {"decoder_start_token_id": START, "eos_token_id": END, "pad_token_id": TOKENIZER.pad}
        wanted = theirs.generate(input_ids=ids_of, generation_config=transformers.GenerationConfig(**ends, **said))
        found = predictor.predict(text)
        texts = [found.target, *(other.target for other in found.others)]
        assert texts == [TOKENIZER.decode([piece for piece in row[1:].tolist() if piece > 4]) for row in wanted]
        assert len(texts) == said.get("num_return_sequences", 1)


def test_what_is_not_followed_in_writing_is_named(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    save_tokenizer(TOKENIZER, tmp_path)
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps({"repetition_penalty": 1.3, "early_stopping": True, "typical_p": 1.0, "num_beams": 2}))
    (note,) = [note for note in huggingface.read(tmp_path).notes if "generation settings" in note]
    assert note == f"{file}: bertie ignores these generation settings: early_stopping, repetition_penalty"
    for wrong, said in (
        ({"num_beams": "3"}, "num_beams must be an? int"),
        ({"do_sample": 1}, "do_sample must be a bool"),
        ({"eos_token_id": [3, 4]}, r"eos_token_id must be one id; got \[3, 4\]"),
        ([], "a JSON object was expected"),
    ):
        file.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=said):
            huggingface.read(tmp_path)
    file.write_text(json.dumps({"decoder_start_token_id": 7}))
    with pytest.raises(DataError, match=r"start and end with the ids \(7, 3\)"):
        huggingface.read(tmp_path)


def test_the_pooler_that_nothing_asks_is_left_out_with_a_word(ours: Any) -> None:
    assert any("encoder.pooler.dense.weight, which an encoder with a decoder never" in note for note in ours.notes)


@pytest.mark.parametrize("kind", ["Roberta", "DistilBert", "Electra", "Albert", "ModernBert", "RoFormer"])
def test_other_encoders_under_a_bert_decoder(kind: str, tmp_path: Path) -> None:
    names = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
    given = {**SHAPE, "hidden_size": 32}
    if kind == "DistilBert":
        given = {{**names, "intermediate_size": "hidden_dim"}.get(name, name): value for name, value in given.items()}
    ids = dict.fromkeys(("bos_token_id", "cls_token_id"), START) | dict.fromkeys(("eos_token_id", "sep_token_id"), END)
    source = getattr(transformers, f"{kind}Config")(**given, **ids, pad_token_id=TOKENIZER.pad)
    target = transformers.BertConfig(**SHAPE, hidden_size=32, is_decoder=True, add_cross_attention=True)
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(source, target)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = START, END, TOKENIZER.pad
    model = transformers.EncoderDecoderModel(config).eval()
    model.save_pretrained(tmp_path / "theirs")
    save_tokenizer(TOKENIZER, tmp_path / "theirs")
    bundle = huggingface.read(tmp_path / "theirs")
    draw = torch.Generator().manual_seed(7)
    asked, read = (torch.randint(5, 60, shape, generator=draw) for shape in ((2, 6), (2, 5)))
    batch, target_batch = Batch.from_padded(asked), Batch.from_padded(read)
    with torch.no_grad():
        expected = model(input_ids=asked, decoder_input_ids=read).logits.flatten(0, 1)
        found = bundle.model.head.decoder(bundle.model.encoder(batch), batch, target_batch).materialise()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    huggingface.write(bundle, tmp_path / "ours")
    _, report = transformers.EncoderDecoderModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert {kind: keys for kind, keys in report.items() if keys} == {}

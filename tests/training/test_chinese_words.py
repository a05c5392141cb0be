"""Whole words of a Chinese corpus: hidden together from the corpus to the batch, and asked for where there are none."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from bertie.commands._chinese_words import warn_of_single_characters
from bertie.corpus.prepare import PrepareSettings, prepare
from bertie.corpus.shards import Corpus
from bertie.sampling.instances import draw_instances, draw_share, joined
from bertie.sampling.sampler import Sampler
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.pretraining import Pretraining
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.writing import save_tokenizer

WORDS = ("我们", "北京大学", "朋友", "学习", "的", "在", "中国", "喜欢", "了", "深度", "图书馆", "hello", "dogs", "T恤")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), "。"]
    return Tokenizer.build([*pieces, *sorted({each for word in WORDS for each in word if each > "~"})], lowercase=True)


@pytest.fixture(scope="module")
def corpora(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Corpus]:
    pytest.importorskip("rjieba")
    folder = tmp_path_factory.mktemp("chinese")
    save_tokenizer(tokenizer, folder / "tokenizer")
    draw = random.Random(0)
    sentences = ["".join(draw.choices(WORDS, k=draw.randint(3, 30))) + "。" for _ in range(1500)]
    documents = ["\n".join(sentences[start : start + 30]) for start in range(0, len(sentences), 30)]
    (folder / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    english = "\n\n".join(["hello dogs hello\n" * 20] * 4)
    (folder / "english.txt").write_text(english, encoding="utf-8")

    def make(name: str, text: str, settings: PrepareSettings) -> Corpus:
        out = folder / name
        return prepare([folder / text], tokenizer=folder / "tokenizer", out=out, settings=settings, num_processes=1)

    return {
        "words": make("words", "text.txt", PrepareSettings()),
        "characters": make("characters", "text.txt", PrepareSettings(words="none")),
        "english": make("english", "english.txt", PrepareSettings()),
    }


@pytest.mark.parametrize(
    "task", [MaskedLM(masking="word"), MaskedLM(masking="word", across_documents=True), Pretraining(masking="word")]
)
def test_words_are_hidden_together(
    task: MaskedLM | Pretraining, corpora: dict[str, Corpus], tokenizer: Tokenizer
) -> None:
    corpus = corpora["words"]
    sampler = Sampler(corpus, seed=3, length=128, batch_tokens=4096, plan=task.corpus_plan())
    hidden, goes_on, is_text, shown = [], [], [], []
    for step in range(sampler.num_batches(0)):
        instances = draw_instances(sampler, step, tokenizer)
        assert instances.goes_on is not None
        batch = task.encode(instances, tokenizer, instances.keys)
        chosen = np.zeros(len(instances.tokens), bool)
        chosen[batch.targets["slot.position"].numpy()] = True
        hidden.append(chosen)
        goes_on.append(instances.goes_on)
        is_text.append(~np.isin(instances.tokens, tokenizer.special_ids))
        now, was = batch.tokens.numpy()[chosen], instances.tokens[chosen]
        shown.append(np.stack([now == tokenizer.mask, now == was]))
    together, marked = np.concatenate(hidden), np.concatenate(goes_on)
    assert marked.mean() > 0.2
    assert (together[1:] == together[:-1])[marked[1:]].all()
    masked, kept = np.concatenate(shown, 1).mean(1)
    assert abs(masked - 0.8) < 0.02 and abs(kept - 0.1) < 0.02
    assert abs(together[np.concatenate(is_text)].mean() - 0.15) < 0.01
    alone = draw_instances(
        Sampler(corpora["characters"], seed=3, length=128, batch_tokens=4096, plan=task.corpus_plan()), 0, tokenizer
    )
    assert alone.goes_on is None


def test_parts_of_a_step_are_the_step(corpora: dict[str, Corpus], tokenizer: Tokenizer) -> None:
    sampler = Sampler(corpora["words"], seed=1, length=64, batch_tokens=2048, plan="texts")
    whole = draw_instances(sampler, 2, tokenizer)
    shares = [draw_share(sampler, [2], tokenizer, rank=rank, num_ranks=2) for rank in range(2)]
    parts = [share.instances for share in shares if share.instances is not None]
    task = MaskedLM(masking="word")
    told = {}
    for instances in (whole, *parts, joined(parts)):
        batch = task.encode(instances, tokenizer, instances.keys)
        tokens = np.split(batch.tokens.numpy(), instances.offsets[1:-1])
        for key, sequence in zip(instances.keys.tolist(), tokens, strict=True):
            assert told.setdefault(key, sequence.tolist()) == sequence.tolist()
    assert len(told) == len(whole)


def test_a_text_that_begins_inside_a_word(corpora: dict[str, Corpus], tokenizer: Tokenizer) -> None:
    sampler = Sampler(corpora["words"], seed=0, length=16, batch_tokens=1024, plan="full")
    for step in range(20):
        instances = draw_instances(sampler, step, tokenizer)
        assert instances.goes_on is not None
        edge = np.isin(instances.tokens, (tokenizer.start, tokenizer.separator))
        assert not instances.goes_on[edge].any() and not instances.goes_on[1:][edge[:-1]].any()


def test_what_is_said_without_words(
    corpora: dict[str, Corpus], tokenizer: Tokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    warn_of_single_characters(MaskedLM(masking="word"), tokenizer, corpora["words"], corpora["english"], None)
    warn_of_single_characters(MaskedLM(), tokenizer, corpora["characters"])
    assert capsys.readouterr().err == ""
    for masking in ("word", "span"):
        warn_of_single_characters(MaskedLM(masking=masking), tokenizer, corpora["characters"], corpora["english"])
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"masking={masking}" in said and "pip install 'bertie[zh]'" in said
        assert f"{Path('characters')} (" in said and "isn't segmented into words" in said

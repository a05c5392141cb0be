"""Model cards: the hub's own reader understands them, hostile names stay text, and their examples run."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie import registry
from bertie.errors import SettingsError
from bertie.reports.card import model_card
from bertie.tasks._card import CardText
from bertie.tasks._lookup import task_class
from bertie.tasks.classification import Classification

if TYPE_CHECKING:
    from bertie.tokenizer.tokenizer import Tokenizer

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)


def card(**changes: Any) -> str:
    given: dict[str, Any] = {
        "task": Classification(),
        "command": "bertie run out/films/config.toml",
        "scores": {"accuracy": 0.875, "macro_f1": 0.00001},
        "settings": 'command = "finetune"\nseed = 3\n',
    }
    return model_card(**given | changes)


def test_the_hub_reads_it() -> None:
    data = ModelCard(card(languages=["en", "zh"], base_model="bert-base-uncased", dev_data="films", name="films")).data
    assert data.library_name == "bertie" and data.pipeline_tag == "text-classification"
    assert data.language == ["en", "zh"] and data.base_model == "bert-base-uncased" and data.license is None
    assert [(found.metric_type, found.metric_value, found.dataset_name) for found in data.eval_results] == [
        ("accuracy", 0.875, "films"),
        ("macro_f1", 0.00001, "films"),
    ]


def test_what_is_not_known_is_not_said() -> None:
    text = card(scores={})
    data = ModelCard(text).data
    assert data.license is None and data.language is None and data.base_model is None and data.eval_results is None
    assert "The model was not evaluated, because no dev set was given." in text
    assert "seed:" not in text and "parameters" not in text


def test_what_is_known_is_said() -> None:
    text = card(
        labels=["fresh", "rotten"], seed=0, steps=1200, tokens=4_096_000, num_parameters=11_200_000, data="ab" * 32
    )
    for line in ("- seed: 0", "- steps: 1,200", "- training tokens: 4,096,000", "- data fingerprint: abab"):
        assert line in text
    assert "trained with bertie. It has 11,200,000 parameters. Labels: fresh, rotten." in text
    assert "| Accuracy | 0.8750 |" in text and 'command = "finetune"\nseed = 3' in text


@settings(max_examples=60)
@given(anything, anything, anything, st.floats())
def test_sound_for_any_text(name: str, label: str, language: str, score: float) -> None:
    text = card(
        name=name, labels=[label], languages=[language], base_model=name, dev_data=label, scores={label: score}, seed=1
    )
    text.encode("utf-8")
    data = ModelCard(text).data
    assert data.library_name == "bertie" and data.tags == ["bert", "classification"]
    assert (data.eval_results is not None) == math.isfinite(score)


def test_settings_can_not_leave_their_fence() -> None:
    text = card(settings='x = "```\n# not a heading"')
    assert re.search(r'^````toml\nx = "```\n# not a heading"\n````$', text, re.MULTILINE)


def test_markdown_in_names_stays_text() -> None:
    text = card(labels=["a_b|c", "<script>\n# x"], name="# y")
    assert r"Labels: a\_b\|c, \<script\> \# x." in text and r"# \# y" in text


@dataclass(frozen=True)
class WordOrder(Classification):
    """A third party's task, whose head may be another."""

    name: ClassVar[str] = "word_order"


@dataclass(frozen=True)
class Told(WordOrder):
    """A third party's task that says what it is."""

    card: ClassVar[CardText] = CardText(title="A judge of order", pipeline="text-ranking", limits=("It is slow.",))


def test_a_task_of_somebody_else() -> None:
    text = card(task=WordOrder())
    data = ModelCard(text).data
    assert data.pipeline_tag is None and data.tags == ["bert", "word_order"]
    assert "# A BERT model for word order\n" in text and "import AutoModel, AutoTokenizer" in text
    text = card(task=Told())
    assert ModelCard(text).data.pipeline_tag == "text-ranking"
    assert "# A judge of order\n" in text and "## Limits\n\nIt is slow. The model was not" in text


def test_every_task_says_what_it_is() -> None:
    for name in registry.choices("tasks"):
        told = task_class(name).card
        assert told.title and told.limits, name


@pytest.mark.parametrize("task", registry.choices("tasks"))
def test_its_examples_run(
    task: str, tiny_tokenizer: "Tokenizer", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bertie.formats.format import new
    from bertie.formats.huggingface import write
    from bertie.models.bert import BertConfig
    from bertie.models.electra import ElectraConfig
    from bertie.models.seq2seq import EncoderDecoderConfig

    config = BertConfig(
        tiny_tokenizer.vocab_size, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64, max_positions=64
    )
    kind: Callable[..., Any] = registry.load("tasks", task).TASK
    of_task: dict[str, dict[str, Any]] = {
        "classification": {"labels": ("a", "b")},
        "span_classification": {"labels": ("X",)},
        "tagging": {"labels": ("O", "B-X", "I-X")},
    }
    ends = {"start_id": tiny_tokenizer.start, "end_id": tiny_tokenizer.separator}
    shapes: dict[str, Any] = {
        "generation": (EncoderDecoderConfig.over(config, **ends), "seq2seq"),
        "replaced_token": (ElectraConfig(**vars(config), embedding_size=32), "electra"),
    }
    shape, room = shapes.get(task, (config, "bert"))
    made = kind(max_length=64, **of_task.get(task, {}))
    bundle = new(shape, made, tiny_tokenizer, seed=0, architecture=room)
    write(replace(bundle, card=card(task=made, scores={})), tmp_path / "model")
    blocks = re.findall(
        r"```python\n(.*?)```", (tmp_path / "model" / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(blocks) == 2
    for block in blocks:
        exec(block.replace("PATH", str(tmp_path / "model")), {})
    assert ("Generated(target=" if task in ("generation", "causal_lm") else "torch.Size([1,") in capsys.readouterr().out


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("task", registry.choices("tasks"))
def test_the_widget_has_an_input_of_the_language(task: str, language: str) -> None:
    text = card(task=registry.load("tasks", task).TASK(max_length=64), languages=[language], scores={})
    data = ModelCard(text).data
    widget = data.to_dict().get("widget")
    words = str(widget or "") + "".join(re.findall(r"predict\((.*)\)|tokenizer\((.*), return", text)[0])
    assert bool(re.search(r"[\u4e00-\u9fff]", words)) == (language == "zh")
    if data.pipeline_tag == "fill-mask":
        assert "[MASK]" in widget[0]["text"]
    elif data.pipeline_tag == "question-answering":
        assert set(widget[0]) == {"text", "context"}
    elif data.pipeline_tag == "sentence-similarity":
        assert len(widget[0]["sentences"]) == 2
    elif data.pipeline_tag == "text-classification":
        assert list(widget[0]) == ["text"]


def test_the_user_says_licence_and_language(build_model: Any, tiny_tokenizer: "Tokenizer", tmp_path: Path) -> None:
    import bertie
    from bertie.formats.format import Bundle
    from bertie.formats.huggingface import write
    from bertie.tasks.features import FeaturesTask

    network = build_model(FeaturesTask())
    write(Bundle(network, FeaturesTask(), tiny_tokenizer, network.encoder.config), tmp_path / "base")
    rows = [{"text": word, "label": word} for word in ("cat", "dog")]
    said: dict[str, Any] = {"task": "classification", "train": rows, "steps": 1, "length": 16, "threads": 1}
    model = str(tmp_path / "base")
    bertie.finetune(model, **said, card={"license": "mit", "language": ["en", "zh"]}, out=tmp_path / "said")
    bertie.finetune(model, **said, out=tmp_path / "silent")
    spoken, silent = (ModelCard.load(tmp_path / name / "model" / "README.md") for name in ("said", "silent"))
    assert spoken.data.license == "mit" and spoken.data.language == ["en", "zh"]
    assert silent.data.license is None and silent.data.language is None
    hashes = {re.search(r"- data fingerprint: ([0-9a-f]{16})\n", one.text)[1] for one in (spoken, silent)}  # type: ignore[index]
    assert len(hashes) == 1
    again = bertie.finetune(model, **said, card={"license": "apache-2.0"}, out=tmp_path / "said", resume=True)
    assert again.exit_code == 0  # a card's setting doesn't change the weights
    for wrong in ({"license": "My Licence"}, {"language": ["English"]}):
        with pytest.raises(SettingsError, match=r"card\.l"):
            bertie.finetune(model, **said, card=wrong, out=tmp_path / "wrong")


def test_classes_and_versions() -> None:
    figures = {"a|b": {"precision": 0.5, "f1": math.nan, "support": 7}, "c": {"precision": 1.0, "f1": 0.25}}
    text = model_card(task=Classification(labels=("a|b", "c")), command="x", scores={}, settings="", classes=figures)
    assert "| class | Precision | F1 | Support |\n| --- | ---: | ---: | ---: |\n" in text
    assert "| a\\|b | 0.5000 | – | 7 |\n| c | 1.0000 | 0.2500 | – |" in text
    assert re.search(r"- trained with: bertie \S+, torch \d", text)
    assert "| class |" not in model_card(task=Classification(labels=("c",)), command="x", scores={}, settings="")

"""The README.md of a model folder: front matter for the hub, then what it is, how to use it and how it was made.

The card claims what was measured and nothing else; what isn't known, such as a licence, isn't there.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bertie.reports.figures import name_of
from bertie.reports.text import fit
from bertie.version import VERSION


@dataclass(frozen=True)
class _Kind:
    """What a card says of one task."""

    title: str
    pipeline: str
    """The hub's word for the task; empty when it has none."""
    loader: str
    """The class of transformers that reads the folder."""
    output: str
    """Where that class puts what it found."""
    limits: tuple[str, ...]
    item: str = "text"
    """What it is asked about: a text, one with [MASK], a pair of texts, a question with its context, or choices."""


_LIMITS = (
    "No more was measured than stands above.",
    "What was wrong or one-sided in the text it learned from is in the model too.",
    "Measure it on data of your own before relying on it.",
)
_CLOZE = "It fills [MASK] and is made to be fine-tuned; it writes no text of its own."
_KINDS = {
    "pretraining": _Kind(
        "A pre-trained BERT encoder", "fill-mask", "AutoModelForPreTraining", "prediction_logits", (_CLOZE,)
    ),
    "sentence_order": _Kind(
        "An encoder that was pre-trained on hidden tokens and the order of sentences",
        "fill-mask",
        "AutoModelForPreTraining",
        "prediction_logits",
        (_CLOZE,),
    ),
    "masked_lm": _Kind("A masked language model", "fill-mask", "AutoModelForMaskedLM", "logits", (_CLOZE,)),
    "passages": _Kind(
        "A masked language model that was also taught which passages are of one document",
        "fill-mask",
        "AutoModelForMaskedLM",
        "logits",
        (_CLOZE, "The mean of its hidden vectors says what a text is about: `--task embedding` gives it out."),
    ),
    "causal_lm": _Kind(
        "A decoder-only BERT that writes on from a text",
        "text-generation",
        "AutoModelForCausalLM",
        "",
        ("What it writes reads well or not, and may be untrue either way.",),
    ),
    "hybrid": _Kind(
        "A BERT that fills masks and writes on, with the same weights",
        "",  # what the hub does with a fill-mask model would read its answers one place too late
        "BertLMHeadModel",
        "logits",
        (
            "Its logits at a place are of the token after it: what a [MASK] hides is read at the place before it.",
            "Loaded as above it sees both sides; loaded with `is_decoder=True` it sees the left one only, and scores "
            "and writes texts.",
            "A class for masked language models loads it too, and reads its answers at the wrong place.",
        ),
        "masked text",
    ),
    "replaced_token": _Kind(
        "An ELECTRA discriminator",
        "",
        "AutoModelForPreTraining",
        "logits",
        (
            "It tells of every token how likely another one stood there, and is made to be fine-tuned; the generator "
            "that it learned beside, a small masked language model, is in the folder `generator`.",
        ),
    ),
    "next_sentence": _Kind(
        "A next sentence model",
        "",
        "AutoModelForNextSentencePrediction",
        "logits",
        ("It tells whether a second text follows a first one: 0 means that it does, 1 that it was drawn at random.",),
        "pair",
    ),
    "classification": _Kind(
        "A BERT text classifier",
        "text-classification",
        "AutoModelForSequenceClassification",
        "logits",
        (
            "It knows its own labels and no others: any text at all gets one of them.",
            "Its probabilities are as it gives them and were not calibrated.",
        ),
    ),
    "regression": _Kind(
        "A BERT model that gives a text a number",
        "text-classification",
        "AutoModelForSequenceClassification",
        "logits",
        ("Its numbers are on the scale of the table that it learned from, and may lie a little outside of it.",),
    ),
    "tagging": _Kind(
        "A BERT tagger of words",
        "token-classification",
        "AutoModelForTokenClassification",
        "logits",
        ("It knows its own tags and no others.", "A word has the tag of its first piece."),
    ),
    "question_answering": _Kind(
        "A BERT model that finds answers in a text",
        "question-answering",
        "AutoModelForQuestionAnswering",
        "start_logits",
        ("An answer is a run of words of the text it is given; it writes none of its own.",),
        "question",
    ),
    "multiple_choice": _Kind(
        "A BERT model that chooses how a text goes on",
        "multiple-choice",
        "AutoModelForMultipleChoice",
        "logits",
        ("One of the choices is always chosen, also where none is right.",),
        "choices",
    ),
    "generation": _Kind(
        "A BERT encoder and decoder that write a text from a text",
        "text2text-generation",
        "EncoderDecoderModel",
        "",
        ("What it writes reads well or not, and may be untrue either way.",),
    ),
    "embedding": _Kind(
        "A BERT sentence encoder",
        "sentence-similarity",
        "AutoModel",
        "last_hidden_state",
        ("Texts of like meaning get like vectors; transformers' own class gives those of the pieces, not yet pooled.",),
    ),
    "features": _Kind(
        "A BERT encoder", "feature-extraction", "AutoModel", "last_hidden_state", ("It turns texts into vectors.",)
    ),
}


def model_card(
    *,
    task: str,
    command: str,
    scores: Mapping[str, float],
    settings: str,
    data: str = "",
    name: str = "",
    labels: Sequence[str] = (),
    languages: Sequence[str] = (),
    license_id: str = "",
    base_model: str = "",
    dev_data: str = "",
    num_parameters: int | None = None,
    steps: int | None = None,
    tokens: int | None = None,
    seed: int | None = None,
    reading: str = "",
    start: str = "",
) -> str:
    """Write the card.

    Args:
        task: what the model does; a file of bertie/tasks.
        command: repeats the run.
        scores: as measured on held-out data.
        settings: text of config.toml.
        data: fingerprint of what it learned from.
        name: of the model; the heading says what it is when there is none.
        labels: that a classifier gives.
        languages: of the text, as the hub writes them, such as en and zh; left out when not known.
        license_id: as the hub writes it; left out when not known.
        base_model: hub id of the model it started from; empty for one of your own and for random weights.
        dev_data: name of what it was measured on.
        num_parameters: weights of the network.
        steps: updates done.
        tokens: tokens trained on.
        seed: of the run.
        reading: how the training file was read, in one line.
        start: where weights drawn at random began, in one line.
    """
    kind = _KINDS.get(task) or _Kind(
        f"A BERT model for {task.replace('_', ' ')}", "", "AutoModel", "last_hidden_state", ()
    )
    measured = {key: value for key, value in scores.items() if math.isfinite(value)}
    made = {
        "started from": base_model,
        "first weights": start,
        "parameters": _count(num_parameters),
        "updates": _count(steps),
        "tokens trained on": _count(tokens),
        "seed": "" if seed is None else str(seed),
        "fingerprint of the data": data[:16],
        "training data": reading,
        "written by": f"bertie {VERSION}",
    }
    parts = [
        _front_matter(task, kind, measured, name, languages, license_id, base_model, dev_data),
        f"# {_line(name or kind.title)}",
        f"{kind.title}{_parameters(num_parameters)}, made with bertie. {_labels(labels)}".rstrip(),
        f"## Use\n\n{_fenced(_ours(kind, languages), 'python')}\n\nIt is a plain Hugging Face folder:\n\n"
        f"{_fenced(_theirs(kind), 'python')}",
        f"## Scores\n\n{_scores(scores, dev_data)}",
        "## How it was made\n\n"
        + "\n".join(f"- {what}: {_line(value)}" for what, value in made.items() if value)
        + f"\n\n{_fenced(command, 'sh')}\n\nIts `config.toml`, all settings included:\n\n{_fenced(settings, 'toml')}",
        f"## Limits\n\n{' '.join([*kind.limits, *_LIMITS])}",
    ]
    return fit("\n\n".join(parts) + "\n")


def _front_matter(
    task: str,
    kind: _Kind,
    scores: Mapping[str, float],
    name: str,
    languages: Sequence[str],
    license_id: str,
    base_model: str,
    dev_data: str,
) -> str:
    """Write what the hub reads: YAML, every text in JSON's quotes, which are YAML's too."""
    lines = ["---"]
    if languages:
        lines += ["language:", *(f"- {_quoted(language)}" for language in languages)]
    if license_id:
        lines.append(f"license: {_quoted(license_id)}")
    lines.append("library_name: bertie")
    if kind.pipeline:
        lines.append(f"pipeline_tag: {kind.pipeline}")
    if base_model:
        lines.append(f"base_model: {_quoted(base_model)}")
    lines += ["tags:", "- bert", f"- {_quoted(task)}"]
    if scores:
        where = _quoted(dev_data or "held-out data")
        lines += [
            *("model-index:", f"- name: {_quoted(name or kind.title)}", "  results:", "  - task:"),
            f"      type: {kind.pipeline or _quoted(task)}",
            *("    dataset:", f"      name: {where}", f"      type: {where}", "    metrics:"),
        ]
        for key, value in scores.items():
            lines += [
                f"    - type: {_quoted(key.removeprefix('dev_'))}",
                f"      name: {_quoted(name_of(key.removeprefix('dev_')))}",
                f"      value: {value:.6f}",  # YAML takes 1e-05 for a word
            ]
    return "\n".join([*lines, "---"])


def _ours(kind: _Kind, languages: Sequence[str]) -> str:
    example = "A text of yours."
    if kind.pipeline == "fill-mask" or kind.item == "masked text":
        example = "北京是中国的首[MASK]。" if list(languages) == ["zh"] else "Paris is the [MASK] of France."
    asked = {
        # A tuple is a pair of texts, that is one item.
        "pair": f'("{example}", "Another one.")',
        "question": '("Where was she born?", "She was born in Paris in 1903.")',
        "choices": 'Choice("She opened the door", ("and went in.", "and it was blue."))',
    }.get(kind.item, f'"{example}"')
    needs = "from bertie.data.items import Choice\n" if kind.item == "choices" else ""
    return f'import bertie\n{needs}\nmodel = bertie.load("PATH")\nprint(model.predict({asked}))'


def _theirs(kind: _Kind) -> str:
    asked = {
        "pair": '"A text of yours.", "Another one."',
        "question": '"Where was she born?", "She was born in Paris in 1903."',
        "choices": '["She opened the door"] * 2, ["and went in.", "and it was blue."], padding=True',
    }.get(kind.item, '"A text of yours."')
    call = f'tokenizer({asked}, return_tensors="pt")'
    given = f"**{{name: values[None] for name, values in {call}.items()}}" if kind.item == "choices" else f"**{call}"
    use = f"output = model({given})\nprint(output.{kind.output}.shape)"
    if kind.loader == "EncoderDecoderModel":
        use = (
            f"source = {call}\noutput = model.generate(source.input_ids, attention_mask=source.attention_mask)\n"
            "print(tokenizer.decode(output[0], skip_special_tokens=True))"
        )
    if kind.pipeline == "text-generation":
        use = (
            f"begun = {call}.input_ids[:, :-1]  # without [SEP], which ends a text\noutput = model.generate(begun)\n"
            "print(tokenizer.decode(output[0], skip_special_tokens=True))"
        )
    return (
        f"from transformers import {', '.join(sorted((kind.loader, 'AutoTokenizer')))}\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("PATH")\nmodel = {kind.loader}.from_pretrained("PATH")\n{use}'
    )


def _scores(scores: Mapping[str, float], dev_data: str) -> str:
    if not scores:
        return "Nothing was measured: no dev data were given."
    rows = "\n".join(
        f"| {_line(name_of(name.removeprefix('dev_')))} | {f'{value:.4f}' if math.isfinite(value) else 'not finite'} |"
        for name, value in scores.items()
    )
    where = _line(dev_data or "the dev data of the run")
    said = f"Measured on {where}, in one run; another seed gives other scores."
    return f"{said}\n\n| score | value |\n| --- | ---: |\n{rows}"


def _parameters(count: int | None) -> str:
    return "" if count is None else f" of {count:,} parameters"


def _labels(labels: Sequence[str]) -> str:
    return f"Labels: {', '.join(_line(label) for label in labels)}." if labels else ""


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _line(text: str) -> str:
    """Write text so that Markdown shows it as it is, on one line and within a cell."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>#|!" else sign for sign in " ".join(text.split()))


def _fenced(text: str, language: str) -> str:
    """Put text between fences longer than any that it holds."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def _quoted(text: str) -> str:
    return json.dumps(fit(text), ensure_ascii=False)

"""Write the model card, the README.md of a model folder: front matter for the Hugging Face hub, use, scores, origin.

The card states only what was measured. It omits what is unknown, such as a licence.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bertie.reports.examples import examples, widget
from bertie.reports.figures import name_of
from bertie.reports.machine import these_versions
from bertie.reports.text import fit, quoted
from bertie.tasks.task import CardText, Task
from bertie.version import VERSION

_LIMITS = (
    "The model was not evaluated beyond the scores above.",
    "It reproduces errors and biases of its training data.",
    "Evaluate it on your own data before you rely on it.",
)


def model_card(
    *,
    task: Task,
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
    classes: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """Return the text of the card.

    Args:
        task: the model's task, which says what the model is.
        command: the command that repeats the run.
        scores: the scores on held-out data.
        settings: the text of config.toml.
        data: the fingerprint of the training data.
        name: the model's name; if empty, the heading describes the task.
        labels: the labels of a classifier.
        languages: the languages of the text as hub codes, such as en and zh; empty if unknown.
        license_id: the hub's id of the licence; empty if unknown.
        base_model: the hub id of the model that the run started from; empty for a local model and random weights.
        dev_data: the name of the dev set.
        num_parameters: the number of weights.
        steps: the number of training steps.
        tokens: the number of training tokens.
        seed: the seed of the run.
        reading: how the training file was read, in one line.
        start: how random weights were initialized, in one line.
        classes: the figures of each class on the dev set, by label; None or empty if there are none.
    """
    title = task.card.title or f"A BERT model for {task.name.replace('_', ' ')}"
    described = replace(task.card, title=title)
    measured = {key: value for key, value in scores.items() if math.isfinite(value)}
    origin = {
        "base model": base_model,
        "initial weights": start,
        "parameters": _count(num_parameters),
        "steps": _count(steps),
        "training tokens": _count(tokens),
        "seed": "" if seed is None else str(seed),
        "data fingerprint": data[:16],
        "training data": reading,
        "trained with": f"bertie {VERSION}, torch {these_versions().get('torch', 'unknown')}",
    }
    parts = [
        _front_matter(task.name, described, measured, name, languages, license_id, base_model, dev_data),
        f"# {line(name or described.title)}",
        f"{described.title}, trained with bertie.{_parameters(num_parameters)}{_labels(labels)}",
        f"## Use\n\n{fenced(_bertie_example(described, languages), 'python')}\n\nThe folder is in the Hugging Face "
        f"format, so transformers loads it too:\n\n{fenced(_transformers_example(described, languages), 'python')}",
        f"## Scores\n\n{_scores(scores, dev_data)}{_classes(classes or {})}",
        "## Training\n\n"
        + "\n".join(f"- {fact}: {line(value)}" for fact, value in origin.items() if value)
        + f"\n\n{fenced(command, 'sh')}\n\nThe complete settings in `config.toml`:\n\n{fenced(settings, 'toml')}",
        f"## Limits\n\n{' '.join([*described.limits, *_LIMITS])}",
    ]
    return fit("\n\n".join(parts) + "\n")


def _front_matter(
    task: str,
    described: CardText,
    scores: Mapping[str, float],
    name: str,
    languages: Sequence[str],
    license_id: str,
    base_model: str,
    dev_data: str,
) -> str:
    """Return the YAML front matter that the hub reads. Strings are quoted as in JSON, which YAML accepts."""
    lines = ["---"]
    if languages:
        lines += ["language:", *(f"- {quoted(language)}" for language in languages)]
    if license_id:
        lines.append(f"license: {quoted(license_id)}")
    lines.append("library_name: bertie")
    if described.pipeline:
        lines.append(f"pipeline_tag: {described.pipeline}")
    if base_model:
        lines.append(f"base_model: {quoted(base_model)}")
    lines += widget(described, languages)
    lines += ["tags:", "- bert", f"- {quoted(task)}"]
    if scores:
        dataset = quoted(dev_data or "held-out data")
        lines += [
            *("model-index:", f"- name: {quoted(name or described.title)}", "  results:", "  - task:"),
            f"      type: {described.pipeline or quoted(task)}",
            *("    dataset:", f"      name: {dataset}", f"      type: {dataset}", "    metrics:"),
        ]
        for key, value in scores.items():
            lines += [
                f"    - type: {quoted(key.removeprefix('dev_'))}",
                f"      name: {quoted(name_of(key.removeprefix('dev_')))}",
                f"      value: {value:.6f}",  # YAML reads 1e-05 as a string
            ]
    return "\n".join([*lines, "---"])


def _bertie_example(described: CardText, languages: Sequence[str]) -> str:
    said = examples(languages)
    masked = described.pipeline == "fill-mask" or described.item == "masked text"
    argument = {
        # A tuple is a pair of texts, which is one item.
        "pair": f'("{said.masked if masked else said.text}", "{said.second}")',
        "question": f'("{said.question}", "{said.passage}")',
        "choices": f'bertie.Choice("{said.start}", ("{said.endings[0]}", "{said.endings[1]}"))',
    }.get(described.item, f'"{said.masked if masked else said.text}"')
    return f'import bertie\n\nmodel = bertie.load("PATH")\nprint(model.predict({argument}))'


def _transformers_example(described: CardText, languages: Sequence[str]) -> str:
    said = examples(languages)
    arguments = {
        "pair": f'"{said.text}", "{said.second}"',
        "question": f'"{said.question}", "{said.passage}"',
        "choices": f'["{said.start}"] * 2, ["{said.endings[0]}", "{said.endings[1]}"], padding=True',
    }.get(described.item, f'"{said.text}"')
    call = f'tokenizer({arguments}, return_tensors="pt")'
    inputs = f"**{call}"
    if described.item == "choices":
        inputs = f"**{{name: values[None] for name, values in {call}.items()}}"
    use = f"output = model({inputs})\nprint(output.{described.output}.shape)"
    if described.loader == "EncoderDecoderModel":
        use = (
            f"source = {call}\noutput = model.generate(source.input_ids, attention_mask=source.attention_mask)\n"
            "print(tokenizer.decode(output[0], skip_special_tokens=True))"
        )
    if described.pipeline == "text-generation":
        use = (
            f"prompt = {call}.input_ids[:, :-1]  # without [SEP], which ends a text\noutput = model.generate(prompt)\n"
            "print(tokenizer.decode(output[0], skip_special_tokens=True))"
        )
    return (
        f"from transformers import {', '.join(sorted((described.loader, 'AutoTokenizer')))}\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("PATH")\nmodel = {described.loader}.from_pretrained("PATH")\n{use}'
    )


def _scores(scores: Mapping[str, float], dev_data: str) -> str:
    if not scores:
        return "The model was not evaluated, because no dev set was given."
    rows = "\n".join(
        f"| {line(name_of(name.removeprefix('dev_')))} | {f'{value:.4f}' if math.isfinite(value) else 'not finite'} |"
        for name, value in scores.items()
    )
    dataset = line(dev_data or "the dev set of the run")
    remark = f"Measured on {dataset} in one run. Another seed gives other scores."
    return f"{remark}\n\n| score | value |\n| --- | ---: |\n{rows}"


def _classes(classes: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table of the figures of each class; empty without any."""
    names = list(dict.fromkeys(name for figures in classes.values() for name in figures))
    if not names:
        return ""
    head = " | ".join(line(name_of(name)) for name in names)
    rows = "\n".join(
        f"| {line(label)} | {' | '.join(_figure(figures.get(name)) for name in names)} |"
        for label, figures in classes.items()
    )
    return f"\n\n| class | {head} |\n| --- |{' ---: |' * len(names)}\n{rows}"


def _figure(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _parameters(count: int | None) -> str:
    return "" if count is None else f" It has {count:,} parameters."


def _labels(labels: Sequence[str]) -> str:
    return f" Labels: {', '.join(line(label) for label in labels)}." if labels else ""


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def line(text: str) -> str:
    """Escape a text so that Markdown shows it literally, on one line, also in a table cell."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>#|!" else sign for sign in " ".join(text.split()))


def fenced(text: str, language: str) -> str:
    """Put a text into a fenced code block whose fence does not occur in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.strip()}\n{fence}"

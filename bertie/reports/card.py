"""The README.md of a model folder: front matter for the hub, then what it is, how it was made and how to use it."""

import json
from collections.abc import Mapping

_PIPELINES = {
    "pretraining": "fill-mask",
    "masked_lm": "fill-mask",
    "classification": "text-classification",
    "features": "feature-extraction",
}
_CLASSES = {
    "pretraining": "AutoModelForPreTraining",
    "masked_lm": "AutoModelForMaskedLM",
    "next_sentence": "AutoModelForNextSentencePrediction",
    "classification": "AutoModelForSequenceClassification",
    "features": "AutoModel",
}


def model_card(*, task: str, command: str, scores: Mapping[str, float], settings: str, data: str = "") -> str:
    """Write the card.

    Args:
        task: what the model does.
        command: repeats the run.
        scores: as measured; the card claims nothing else.
        settings: text of config.toml.
        data: fingerprint of the corpus.
    """
    front = ["---", "library_name: bertie"]
    if task in _PIPELINES:
        front.append(f"pipeline_tag: {_PIPELINES[task]}")
    front += ["tags:", "- bert", f"- {task}", "---"]
    measured = "\n".join(f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in scores.items())
    table = (
        f"| score | value |\n| --- | --- |\n{measured}" if measured else "Nothing was measured: no dev data were given."
    )
    example = '"Paris is the [MASK] of France."' if _PIPELINES.get(task) == "fill-mask" else '"A text of yours."'
    return "\n".join(
        [
            *front,
            f"# A BERT model for {task.replace('_', ' ')}",
            "",
            "## Scores",
            "",
            table,
            "",
            "## Use",
            "",
            f"```python\nimport bertie\n\nbertie.load({json.dumps('PATH')}).predict({example})\n```",
            "",
            f"It is a plain Hugging Face folder: `transformers.{_CLASSES.get(task, 'AutoModel')}` loads it too.",
            "",
            "## How it was made",
            "",
            f"`{command}` repeats the run{f'; corpus {data[:16]}' if data else ''}.",
            "",
            f"```toml\n{settings.strip()}\n```",
            "",
        ]
    )

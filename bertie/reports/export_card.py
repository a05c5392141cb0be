"""Write the card of an exported folder: how other programs run the graph, and the proof of its agreement.

The rest is the card of the model it was exported from, without the lines on loading it.
"""

import re
from collections.abc import Mapping
from typing import Any

from bertie.backends._frozen import RUNTIMES, Facts
from bertie.reports.card import fenced, line
from bertie.tasks.task import Task
from bertie.tokenizer.tokenizer import Tokenizer

_ARRAYS = {
    "input_ids": "one.ids",
    "attention_mask": "one.attention_mask",
    "token_type_ids": "one.type_ids",
}


def export_card(original: str, task: Task, facts: Facts, tokenizer: Tokenizer) -> str:
    """Return the text of the card.

    Args:
        original: the card of the model; may be empty.
        task: of the model.
        facts: on the graph, with the proof.
        tokenizer: of the model.
    """
    front, title, sections = _parts(original, task)
    runtime = _RUNTIME.get(facts.backend, f"the backend {facts.backend} of bertie")
    what = (
        f"This folder is an export for {runtime}. It can't be trained; for that, use the model that it was made from."
    )
    use = "## Use\n\n" + fenced('import bertie\n\nmodel = bertie.load("PATH")', "python")
    script = [_example(facts, tokenizer)] if facts.backend in _RUNTIME else []
    export = (what, use, *script, f"## Proof of the export\n\n{_proof(facts)}")
    return "\n\n".join([*([front] if front else []), title, *export, *sections]) + "\n"


_RUNTIME = {"onnx": "ONNX Runtime (`model.onnx`)", "openvino": "OpenVINO (`openvino_model.xml` and its `.bin`)"}


def _parts(original: str, task: Task) -> tuple[str, str, list[str]]:
    """Return front matter, title and the sections of a card that are true of an export."""
    text = original.replace("\r\n", "\n")
    front = match[0].strip() if (match := re.match(r"---\n.*?\n---\n", text, re.DOTALL)) else ""
    body = text[len(match[0]) :] if match else text
    head, *rest = re.split(r"(?m)^(?=## )", body)
    title = head.strip() or f"# {task.card.title or f'A BERT model for {task.name}'}"
    kept = [section.strip() for section in rest if not re.match(r"## (Usage|Use\b|Proof of the export)", section)]
    return front, title, kept


def _example(facts: Facts, tokenizer: Tokenizer) -> str:
    """Return a script that runs the graph without bertie."""
    inputs = facts.inputs
    rows = ", ".join(f'"{name}": {_ARRAYS[name]}' for name in inputs)
    shape = "[None]" if any(output.per == "choice" for output in facts.outputs.values()) else ""
    name = list(facts.outputs)[-1 if "sentence_embedding" in facts.outputs else 0]
    feed = f"{{name: numpy.array([row[name] for row in rows], numpy.int64){shape} for name in rows[0]}}"
    common = (
        f"import numpy\nimport {RUNTIMES[facts.backend][1]}\nfrom tokenizers import Tokenizer\n\n"
        'tokenizer = Tokenizer.from_file("PATH/tokenizer.json")\n'
        f"tokenizer.enable_padding(pad_id={tokenizer.pad}, pad_token={tokenizer.tokens[tokenizer.pad]!r})\n"
        f"tokenizer.enable_truncation({facts.max_length})\n"
        'encoded = tokenizer.encode_batch(["This is a text.", "This is another, longer text."])\n'
        f"rows = [{{{rows}}} for one in encoded]\ninputs = {feed}\n"
    )
    if facts.backend == "onnx":
        run = (
            f'session = onnxruntime.InferenceSession("PATH/model.onnx")\noutput = session.run(["{name}"], inputs)[0]\n'
        )
    else:
        run = f'model = openvino.compile_model("PATH/openvino_model.xml", "CPU")\noutput = model(inputs)["{name}"]\n'
    names = ", ".join(f"`{each}`" for each in inputs)
    outputs = ", ".join(f"`{each}`" for each in facts.outputs)
    remark = ""
    if any(output.per == "slot" for output in facts.outputs.values()):
        remark = (
            " Where `attention_mask` is 2, only the logits of these tokens are computed, as (1, number, vocabulary)."
        )
    if facts.precision == "int8":
        remark += " Its products are ONNX Runtime's own operators, so other runtimes don't run it."
    intro = f"Without bertie, the graph has the inputs {names} (int64) and the outputs {outputs}.{remark}"
    return f"{intro}\n\n{fenced(common + run + 'print(output.shape)', 'python')}"


def _proof(facts: Facts) -> str:
    """Return the measured figures as tables."""
    proof: Mapping[str, Any] = facts.proof
    rows = [("precision", facts.precision)]
    rows += [(name.replace("_", " "), _shown(proof[name])) for name in _FIGURES if name in proof]
    rows += [(f"version of {name}", version) for name, version in proof.get("versions", {}).items()]
    table = "\n".join(f"| {line(str(name))} | {line(str(value))} |" for name, value in rows)
    text = f"| | |\n| --- | --- |\n{table}"
    if scores := proof.get("scores"):
        lines = "\n".join(
            f"| {line(name)} | {before:.4f} | {scores['after'][name]:.4f} |"
            for name, before in scores["before"].items()
            if name in scores["after"]
        )
        text += (
            f"\n\nScores on {scores['items']:,} rows of {line(scores['file'])}:\n\n| score | before | after |\n"
            f"| --- | ---: | ---: |\n{lines}"
        )
    return text


_FIGURES = (
    "compared",
    "largest_difference",
    "mean_cosine",
    "least_cosine",
    "graph_megabytes",
    "fp32_megabytes",
)


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1e}" if abs(value) < 0.001 else f"{value:,.5g}"

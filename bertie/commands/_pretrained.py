"""Write the model, its card and the report of a finished pre-training run, and return the figures to print."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._card import about
from bertie.commands._continuing import ContinuedRun, Effect
from bertie.commands._yardsticks import Yardsticks
from bertie.commands.command import Report

if TYPE_CHECKING:
    from bertie.commands._held_out import DevCorpus
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.starts.start import StartReport
    from bertie.tasks.task import Task, TaskModel
    from bertie.training.runfolder import RunFolder
    from bertie.training.schedule import Stage
    from bertie.training.spec import RunSpec, RunState

_PROGRESS = {"kind", "step", "seconds", "tokens", "tokens_per_second", "learning_rate", "gradient_norm", "length"}
"""Keys of metrics.jsonl other than the figures of the task."""
_SAME_CORPUS = (
    "--dev is the corpus that the run learned from, so its dev figures don't hold for other text; give a corpus of "
    "other text"
)


def finish(
    bundle: "Bundle",
    network: "TaskModel",
    folder: "RunFolder",
    position: "RunState",
    data: "Corpus",
    masked: Any,
    counted: Yardsticks,
    *,
    stages: "Sequence[Stage]",
    job: "RunSpec",
    begun: "StartReport | None" = None,
    prepared: str = "",
    expected: Mapping[str, float] | None = None,
    onward: ContinuedRun | None = None,
    held_out: "DevCorpus | None" = None,
    limits: Mapping[str, Any] | None = None,
) -> Report:
    """Write the model, its helper models and the report of a finished run."""
    from bertie.reports.run import RunReport
    from bertie.reports.run import write as write_report
    from bertie.training.journal import read

    records = read(folder.metrics)
    values = _figures(folder, records, position)
    values |= position.chosen
    values["epochs"] = round(position.tokens / max(1, data.num_tokens), 4)
    values |= counted.values(records) | dict(expected or {})
    _write_model(bundle, network, folder, position, data, values, begun)
    effect = Effect() if onward is None else onward.conclude(records, folder, bundle.config, limits or {})
    values |= effect.values
    same_corpus = held_out is not None and held_out.holds(data)
    remark_lines = _remarks(values, position, records, stages, job, counted, effect.remarks, same_corpus=same_corpus)
    notes = [f"The model was pre-trained on {data.num_tokens:,} tokens of {data.num_documents:,} documents."]
    notes += [prepared] if prepared else []
    if begun is not None:
        values |= _start_figures(begun)
        notes += [begun.said] if begun.said else []
    notes += effect.said
    notes += _position_notes(bundle, stages, job, new=begun is not None and bool(begun.name))
    shares, sequence_notes = _sequence_notes(bundle.task, data)
    values |= shares
    notes += sequence_notes
    if bundle.task.fills_masks:
        notes += [counted.said] if counted.said else []
        notes.append(
            "Random replacements come from the vocabulary without special tokens, unlike in the original BERT."
        )
    settings = folder.config.read_text(encoding="utf-8")
    write_report(
        folder.report,
        RunReport(
            title=f"Pre-training {folder.path.name}",
            kind="pretrain",
            summary={name: value for name, value in values.items() if name != "remarks"},
            records=records,
            settings=settings,
            command=f"bertie run {folder.config}",
            comparisons=effect.comparisons,
            masked=masked,
            notes=[*notes, *(f"{line[0].upper()}{line[1:]}." for line in remark_lines)],
        ),
    )
    folder.mark_finished(values)
    return summary(folder, values, bundle.task)


def _write_model(
    bundle: "Bundle",
    network: "TaskModel",
    folder: "RunFolder",
    position: "RunState",
    data: "Corpus",
    values: Mapping[str, Any],
    begun: "StartReport | None",
) -> None:
    """Write the model with its card, and its helper models in subfolders."""
    from bertie.formats.huggingface import write
    from bertie.reports.card import model_card

    scores = {name: value for name, value in values.items() if name.startswith("dev_")}
    card = model_card(
        **{**about(folder), "data": data.fingerprint},
        task=bundle.task,
        scores=scores,
        num_parameters=sum(value.numel() for value in bundle.model.parameters()),
        steps=position.step,
        tokens=position.tokens,
        start="" if begun is None else begun.said or begun.name,
    )
    extra = {"data": data.fingerprint, "steps": position.step, "tokens": position.tokens}
    # Store the task with its settings at the end of the run, not those at the start.
    write(replace(bundle, task=bundle.task.at(1.0), card=card, extra=extra), folder.model, overwrite=True)
    for name, (model, task) in network.companions().items():
        shape: Any = model.encoder.config
        helper = replace(bundle, model=model, task=task.at(1.0), config=shape, card="", extra=extra)
        write(helper, folder.model / name)


def _remarks(
    values: dict[str, Any],
    position: "RunState",
    records: list[dict[str, Any]],
    stages: "Sequence[Stage]",
    job: "RunSpec",
    counted: Yardsticks,
    bought: Sequence[str],
    *,
    same_corpus: bool,
) -> list[str]:
    """Write warnings about the run to stderr, and add them to the figures."""
    from bertie.training.remarks import Extent, of_pretraining

    extent = Extent(steps=position.step, done=values["epochs"], data="the corpus")
    about: dict[str, Any] = {"stages": stages, "settings": job.training, "optimizer": job.optimizer}
    lines = of_pretraining(extent, records, **about, yardsticks=counted.figures, recipe=counted.recipe, bought=bought)
    lines = [*([_SAME_CORPUS] if same_corpus else []), *lines]
    for line in lines:
        progress.note(f"warning: {line}")  # a note: quiet runs have it in run.json and the report
    if lines:
        values["remarks"] = lines
    return lines


def _start_figures(begun: "StartReport") -> dict[str, Any]:
    """Return the non-zero figures of the run's start."""
    figures = {"start": begun.name, "counted_tokens": begun.tokens, "head_steps": begun.steps}
    return {name: value for name, value in figures.items() if value}


def _position_notes(bundle: "Bundle", stages: "Sequence[Stage]", job: "RunSpec", *, new: bool) -> list[str]:
    """Return notes about the positions that were trained; empty for an encoder without learned positions."""
    if getattr(bundle.model.encoder.embeddings, "position", None) is None:
        return []
    longest, limit = max(stage.length for stage in stages), bundle.config.max_positions
    notes = []
    if job.schedule.random_positions:
        notes.append(
            f"Sequences of the shorter stages began at random positions, so that all {longest} positions were trained."
        )
    if new and longest < limit:
        notes.append(
            f"No sequence was longer than {longest} tokens, so of the {limit} positions of the model the later ones "
            "were not trained: predictions for longer texts will be worse until the model is trained on such texts."
        )
    return notes


def _sequence_notes(task: Any, data: "Corpus") -> tuple[dict[str, float], list[str]]:
    """Return a share that describes how the corpus was cut into sequences, and a note about it."""
    import numpy as np

    from bertie.sampling.sampler import PLANS

    kind = task.corpus_plan()
    if kind == "texts":
        return {}, []
    plan = PLANS[kind](data, seed=0, epoch=0, length=task.max_length)
    if kind == "pairs":
        share, name = plan.random_share, "random_next_share"
        note = "of the pairs are random, including every chunk of a single sentence, which has no second half."
    elif kind == "order":
        share, name = float((plan.labels < 0).mean()), "single_sentence_share"
        note = "of the sequences are a single sentence, which has no order; they train only the masked LM."
    elif kind == "passages":
        share, name = float((np.bincount(plan.document) % 2).sum() / len(plan)), "single_passage_share"
        note = "of the passages have no second passage in their document"
        note += "; they train only the masked LM." if task.fills_masks else " and train nothing."
    else:
        share, name = float((plan.num_breaks > 0).mean()), "across_documents_share"
        note = "of the sequences have text of several documents, separated by [SEP]."
    return {name: round(share, 4)}, [f"{share:.1%} {note}"]


def _figures(folder: "RunFolder", records: list[dict[str, Any]], position: "RunState") -> dict[str, Any]:
    """Return the run's length and its last training and dev figures."""
    last: dict[str, Any] = {
        kind: next((row for row in reversed(records) if row["kind"] == kind), {}) for kind in ("train", "dev")
    }
    return {
        "folder": str(folder.path),
        "steps": position.step,
        "tokens": position.tokens,
        "seconds": round(position.seconds, 1),
        "tokens_per_second": round(position.tokens / max(1e-9, position.seconds)),
        **{
            f"{kind}_{name}": round(value, 4)
            for kind, row in last.items()
            for name, value in row.items()
            if name not in _PROGRESS and value is not None
        },
    }


def summary(folder: "RunFolder", values: dict[str, Any], task: "Task") -> Report:
    """Return the command's report: the run's figures and the next command."""
    model = values.get("fine_tune_from", folder.model)
    command = f"bertie finetune {model} --task classification --train TRAIN.tsv --dev DEV.tsv --out OUT"
    if task.name == "embedding":
        command = f'bertie search {model} TEXTS.txt "A QUERY"'
    elif task.left_to_right and not task.fills_masks:
        command = f'bertie predict {folder.model} "TEXT TO CONTINUE"'
    return Report(
        title=f"Pre-trained {folder.model}", values={**values, "report": str(folder.report)}, next_command=command
    )

"""What a finished pre-training run leaves: the model with its card, the report, and the figures the command prints."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._going_on import Bought, GoingOn
from bertie.commands._yardsticks import Counted
from bertie.commands.command import Report

if TYPE_CHECKING:
    from bertie.commands._held_out import DevCorpus
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.starts.start import Begun
    from bertie.tasks.task import Task, TaskModel
    from bertie.training.run import Job, Position
    from bertie.training.runfolder import RunFolder
    from bertie.training.schedule import Stage

_PROGRESS = {"kind", "step", "seconds", "tokens", "tokens_per_second", "learning_rate", "gradient_norm", "length"}
"""What a line of metrics.jsonl holds beside the figures of the task."""
_SAME = (
    "--dev is the corpus that the run learned from, so its dev figures say nothing of other text; give one that was "
    "prepared from text of its own"
)


def finish(
    bundle: "Bundle",
    network: "TaskModel",
    folder: "RunFolder",
    position: "Position",
    data: "Corpus",
    masked: Any,
    counted: Counted,
    *,
    stages: "Sequence[Stage]",
    job: "Job",
    begun: "Begun | None" = None,
    prepared: str = "",
    expected: Mapping[str, float] | None = None,
    onward: GoingOn | None = None,
    held_out: "DevCorpus | None" = None,
    limits: Mapping[str, Any] | None = None,
) -> Report:
    """Write the model, its companions and the report of a run that reached its end."""
    from bertie.reports.run import RunReport
    from bertie.reports.run import write as write_report
    from bertie.training.journal import read

    records = read(folder.metrics)
    values = _figures(folder, records, position)
    values["epochs"] = round(position.tokens / max(1, data.num_tokens), 4)
    values |= counted.values(records) | dict(expected or {})
    _write_model(bundle, network, folder, position, data, values, begun)
    bought = Bought() if onward is None else onward.conclude(records, folder, bundle.config, limits or {})
    values |= bought.values
    same = held_out is not None and held_out.holds(data)
    told = _remarks(values, position, records, stages, job, counted, bought.remarks, same=same)
    notes = [f"The model was pre-trained on {data.num_tokens:,} tokens of {data.num_documents:,} documents."]
    notes += [prepared] if prepared else []
    if begun is not None:
        values |= _about_start(begun)
        notes += [begun.said] if begun.said else []
    notes += bought.said
    notes += _about_positions(bundle, stages, job, new=begun is not None and bool(begun.name))
    shares, about = _about_sequences(bundle.task, data)
    values |= shares
    notes += about
    if bundle.task.fills_masks:
        notes += [counted.said] if counted.said else []
        notes.append("Random replacements come from the vocabulary without its special tokens, unlike the original.")
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
            comparisons=bought.comparisons,
            masked=masked,
            notes=[*notes, *(f"{line[0].upper()}{line[1:]}." for line in told)],
        ),
    )
    folder.mark_finished(values)
    return summary(folder, values, bundle.task)


def _write_model(
    bundle: "Bundle",
    network: "TaskModel",
    folder: "RunFolder",
    position: "Position",
    data: "Corpus",
    values: Mapping[str, Any],
    begun: "Begun | None",
) -> None:
    """Write the model with its card, and the companions of its learning."""
    from bertie.formats.huggingface import write
    from bertie.reports.card import model_card

    scores = {name: value for name, value in values.items() if name.startswith("dev_")}
    card = model_card(
        task=bundle.task.name,
        command=f"bertie run {folder.config}",
        scores=scores,
        settings=folder.config.read_text(encoding="utf-8"),
        data=data.fingerprint,
        name=folder.path.name,
        num_parameters=sum(value.numel() for value in bundle.model.parameters()),
        steps=position.step,
        tokens=position.tokens,
        start="" if begun is None else begun.said or begun.name,
    )
    extra = {"data": data.fingerprint, "steps": position.step, "tokens": position.tokens}
    # What is used from now on is the task as the run ended, not as it began.
    write(replace(bundle, task=bundle.task.at(1.0), card=card, extra=extra), folder.model, overwrite=True)
    for name, (model, task) in network.companions().items():
        shape: Any = model.encoder.config
        helper = replace(bundle, model=model, task=task.at(1.0), config=shape, card="", extra=extra)
        write(helper, folder.model / name)


def _remarks(
    values: dict[str, Any],
    position: "Position",
    records: list[dict[str, Any]],
    stages: "Sequence[Stage]",
    job: "Job",
    counted: Counted,
    bought: Sequence[str],
    *,
    same: bool,
) -> list[str]:
    """Say as warnings what a user would want to be told, and keep it among the figures."""
    from bertie.training.remarks import Extent, of_pretraining

    extent = Extent(steps=position.step, done=values["epochs"], data="the corpus")
    about: dict[str, Any] = {"stages": stages, "settings": job.training, "optimizer": job.optimizer}
    told = of_pretraining(extent, records, **about, yardsticks=counted.figures, recipe=counted.recipe, bought=bought)
    told = [*([_SAME] if same else []), *told]
    for line in told:
        progress.note(f"warning: {line}")  # quiet runs have them in run.json and in the report
    if told:
        values["remarks"] = told
    return told


def _about_start(begun: "Begun") -> dict[str, Any]:
    """Return the figures of how the weights began, those that there are."""
    found = {"start": begun.name, "counted_tokens": begun.tokens, "head_steps": begun.steps}
    return {name: value for name, value in found.items() if value}


def _about_positions(bundle: "Bundle", stages: "Sequence[Stage]", job: "Job", *, new: bool) -> list[str]:
    """Say which positions were learned, of an encoder that learns positions."""
    if getattr(bundle.model.encoder.embeddings, "position", None) is None:
        return []
    longest, limit = max(stage.length for stage in stages), bundle.config.max_positions
    said = []
    if job.schedule.random_positions:
        said.append(f"Sequences of the shorter stages began at random positions, so that all {longest} were learned.")
    if new and longest < limit:
        said.append(
            f"No sequence was longer than {longest} tokens, so of the {limit} positions of the model the later ones "
            "were not learned: it will do worse on longer texts, until it has learned from some."
        )
    return said


def _about_sequences(task: Any, data: "Corpus") -> tuple[dict[str, float], list[str]]:
    """Say what a reader should know of how the corpus was cut, and the share that it is about."""
    import numpy as np

    from bertie.data.sampler import PLANS

    kind = task.corpus_plan()
    if kind == "texts":
        return {}, []
    plan = PLANS[kind](data, seed=0, epoch=0, length=task.max_length)
    if kind == "pairs":
        share, name = plan.random_share, "random_next_share"
        note = "of the pairs are random: a chunk of one sentence has no second half of its own."
    elif kind == "order":
        share, name = float((plan.labels < 0).mean()), "single_sentence_share"
        note = "of the sequences are one sentence, which has no order: they served the masked LM alone."
    elif kind == "passages":
        share, name = float((np.bincount(plan.document) % 2).sum() / len(plan)), "single_passage_share"
        note = "of the passages have no second one of their document to go with"
        note += ": they served the masked LM alone." if task.fills_masks else ", and taught nothing."
    else:
        share, name = float((plan.num_breaks > 0).mean()), "across_documents_share"
        note = "of the sequences hold text of several documents, with a [SEP] between them."
    return {name: round(share, 4)}, [f"{share:.1%} {note}"]


def _figures(folder: "RunFolder", records: list[dict[str, Any]], position: "Position") -> dict[str, Any]:
    """Collect what a run reached: its length, and the last figures of training and dev."""
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
    """Say what the run reached, and what to do with its model."""
    model = values.get("fine_tune_from", folder.model)
    command = f"bertie finetune {model} --task classification --train TRAIN.tsv --dev DEV.tsv --out OUT"
    if task.name == "embedding":
        command = f'bertie search {model} TEXTS.txt "A QUERY"'
    elif task.left_to_right and not task.fills_masks:
        command = f'bertie predict {folder.model} "TEXT TO GO ON WITH"'
    return Report(
        title=f"Pre-trained {folder.model}", values={**values, "report": str(folder.report)}, next_command=command
    )

"""Signatures of the package, written by ``python docs/stub.py``."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Literal, Protocol, overload

from bertie.commands._kubernetes_file import KubernetesSettings
from bertie.commands._new_model import ModelSettings
from bertie.commands._slurm_file import SlurmSettings
from bertie.commands.check import CheckReport
from bertie.commands.command import Report
from bertie.commands.compare import RunComparison
from bertie.commands.doctor import Diagnosis
from bertie.commands.evaluate import Scores
from bertie.commands.finetune import FinetuneReport
from bertie.commands.predict import Predictions
from bertie.commands.search import SearchResults
from bertie.estimators import BertClassifier as BertClassifier
from bertie.estimators import BertEmbedder as BertEmbedder
from bertie.estimators import BertRegressor as BertRegressor
from bertie.inference.predictor import Predictor as Predictor
from bertie.items.choice import Choice as Choice
from bertie.items.question import Answer as Answer
from bertie.items.question import Question as Question
from bertie.items.text import Text as Text
from bertie.items.words import Words as Words
from bertie.models._padded import TakesPadded
from bertie.serving.limits import Limits
from bertie.tasks._answers import Reply
from bertie.tasks._prediction import Prediction as Prediction
from bertie.tasks._vectors import Similarity, Vector
from bertie.tasks.classification import Verdict
from bertie.tasks.features import Features
from bertie.tasks.generation import Generated
from bertie.tasks.masked_lm import Fill
from bertie.tasks.multiple_choice import Chosen
from bertie.tasks.next_sentence import Follows
from bertie.tasks.regression import Estimate
from bertie.tasks.replaced_token import Detection
from bertie.tasks.span_classification import FoundSpans
from bertie.tasks.tagging import Tagged
from bertie.tasks.task import Task as Task
from bertie.trackers.tracker import Tracker as Tracker
from bertie.training.settings import (
    CardSettings,
    DistillSettings,
    LoraSettings,
    OptimizerSettings,
    ScheduleSettings,
    TrainingSettings,
)

__version__: str
StrPath = str | PathLike[str]

class DataFrame(Protocol):
    """A table of pandas, polars, Arrow or datasets."""

    @property
    def shape(self) -> tuple[int, ...]: ...

Rows = Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]] | Sequence[tuple[object, ...]] | DataFrame

@overload
def load(
    path: StrPath,
    task: Literal["causal_lm", "generation"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Generated]: ...
@overload
def load(
    path: StrPath,
    task: Literal["classification"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Verdict]: ...
@overload
def load(
    path: StrPath,
    task: Literal["embedding"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Vector | Similarity]: ...
@overload
def load(
    path: StrPath,
    task: Literal["features"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Features]: ...
@overload
def load(  # type: ignore[overload-overlap]
    path: StrPath,
    task: Literal["hybrid", "masked_lm", "passages", "pretraining", "sentence_order"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[list[Fill] | list[list[Fill]]]: ...
@overload
def load(
    path: StrPath,
    task: Literal["multiple_choice"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Chosen]: ...
@overload
def load(
    path: StrPath,
    task: Literal["next_sentence"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Follows]: ...
@overload
def load(
    path: StrPath,
    task: Literal["question_answering"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Reply]: ...
@overload
def load(
    path: StrPath,
    task: Literal["regression"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Estimate]: ...
@overload
def load(
    path: StrPath,
    task: Literal["replaced_token"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Detection]: ...
@overload
def load(
    path: StrPath,
    task: Literal["span_classification"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[FoundSpans]: ...
@overload
def load(
    path: StrPath,
    task: Literal["tagging"],
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Tagged]: ...
@overload
def load(
    path: StrPath,
    task: str | None = ...,
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[Prediction]: ...
def encoder(path: StrPath) -> TakesPadded: ...
def advise(
    *,
    corpus: StrPath,
    budget: str | None = ...,
    tokens: int | None = ...,
    dev: StrPath | Rows | None = ...,
    from_: str | None = ...,
    model: ModelSettings | Mapping[str, object] = ...,
    length: int = ...,
    dev_tokens: int = ...,
    precision: Literal["auto", "fp32", "bf16"] = ...,
    device: str = ...,
    threads: int | None = ...,
) -> Report: ...
def check(
    files: Sequence[StrPath],
    *,
    task: str | None = ...,
    dev: StrPath | Rows | None = ...,
    model: str | None = ...,
    length: int = ...,
    columns: Mapping[str, str] | None = ...,
    settings: Mapping[str, object] | None = ...,
    documents: Literal["blank-line", "file"] = ...,
) -> CheckReport: ...
def compare(
    runs: Sequence[StrPath],
    *,
    out: StrPath | None = ...,
    test: bool = ...,
    seed: int = ...,
    device: str = ...,
    threads: int | None = ...,
) -> RunComparison: ...
def convert(
    source: str,
    out: StrPath,
    *,
    to: Literal["huggingface", "google"] = ...,
    task: str | None = ...,
    part: str | None = ...,
    settings: Mapping[str, object] | None = ...,
) -> Report: ...
def demo(
    *,
    language: Literal["en", "zh"] = ...,
    corpus: Sequence[StrPath] = ...,
    train: StrPath | Rows | None = ...,
    dev: StrPath | Rows | None = ...,
    task: Literal["classification", "tagging"] | None = ...,
    out: StrPath | None = ...,
    vocab_size: int = ...,
    size: str = ...,
    budget: str = ...,
    labels: int | None = ...,
    epochs: int | None = ...,
    seeds: Sequence[int] = ...,
) -> Report: ...
def doctor() -> Diagnosis: ...
def evaluate(
    model: str,
    file: StrPath | Rows | None = ...,
    *,
    against: str | None = ...,
    suite: str | None = ...,
    data: StrPath | None = ...,
    limit: int | None = ...,
    scoring: Literal["masked", "causal"] | None = ...,
    columns: Mapping[str, str] | None = ...,
    task: str | None = ...,
    length: int | None = ...,
    truncation: Literal["truncate", "error", "window"] | None = ...,
    settings: Mapping[str, object] | None = ...,
    batch_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    seed: int = ...,
    report: StrPath | None = ...,
) -> Scores: ...
def export(
    model: str,
    out: StrPath,
    *,
    backend: str = ...,
    precision: Literal["exact", "bf16", "int8"] = ...,
    dev: StrPath | Rows | None = ...,
    max_drop: float = ...,
    columns: Mapping[str, str] | None = ...,
    task: str | None = ...,
    settings: Mapping[str, object] | None = ...,
    texts: StrPath | Rows | str | None = ...,
    threads: int | None = ...,
) -> Report: ...
def finetune(
    model: str | ModelSettings | Mapping[str, object] | None = ...,
    *,
    train: StrPath | Rows,
    out: StrPath,
    task: str = ...,
    tokenizer: StrPath | None = ...,
    dev: StrPath | Rows | None = ...,
    train_limit: int | None = ...,
    dev_limit: int | None = ...,
    columns: Mapping[str, str] | None = ...,
    steps: int | None = ...,
    epochs: int | None = ...,
    budget: str | None = ...,
    batch_size: int | None = ...,
    length: int | None = ...,
    truncation: Literal["truncate", "error", "window"] | None = ...,
    stride: int | None = ...,
    settings: Mapping[str, object] | None = ...,
    learning_rate: float | None = ...,
    optimizer: OptimizerSettings | Mapping[str, object] = ...,
    schedule: ScheduleSettings | Mapping[str, object] = ...,
    training: TrainingSettings | Mapping[str, object] = ...,
    freeze: int = ...,
    freeze_cache: float = ...,
    lora: LoraSettings | Mapping[str, object] = ...,
    distill: DistillSettings | Mapping[str, object] = ...,
    precision: Literal["auto", "fp32", "bf16"] = ...,
    device: str = ...,
    threads: int | None = ...,
    seed: int = ...,
    seeds: Sequence[int] | None = ...,
    callbacks: Sequence[Tracker] = ...,
    track: Sequence[Literal["mlflow", "tensorboard", "wandb"]] = ...,
    card: CardSettings | Mapping[str, object] = ...,
    split_seed: int | None = ...,
    resume: bool = ...,
    accept_changes: bool = ...,
) -> FinetuneReport: ...
def launch(
    engine: Literal["slurm", "kubernetes"],
    file: str | Rows,
    flags: Sequence[str] = ...,
    *,
    out: str | None = ...,
    name: str | None = ...,
    nodes: int = ...,
    gpus: int = ...,
    processes: int | None = ...,
    cpus: int = ...,
    memory: int | None = ...,
    slices: int | None = ...,
    grace: int = ...,
    restarts: int = ...,
    port: int = ...,
    slurm: SlurmSettings | Mapping[str, object] = ...,
    kubernetes: KubernetesSettings | Mapping[str, object] = ...,
) -> Report: ...
def predict(
    model: str,
    texts: Sequence[str] | Rows | str = ...,
    *,
    pair: Sequence[str] = ...,
    file: StrPath | Rows | None = ...,
    out: StrPath | None = ...,
    resume: bool = ...,
    columns: Mapping[str, str] | None = ...,
    task: str | None = ...,
    top_k: int | None = ...,
    joint: bool = ...,
    targets: Sequence[str] = ...,
    answer_length: int | None = ...,
    likelihood: bool = ...,
    scoring: Literal["masked", "causal"] | None = ...,
    runner: Literal["local", "slice", "ray"] = ...,
    index: int | None = ...,
    of: int | None = ...,
    address: str | None = ...,
    length: int | None = ...,
    truncation: Literal["truncate", "error", "window"] | None = ...,
    settings: Mapping[str, object] | None = ...,
    batch_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
) -> Predictions: ...
def prepare_corpus(
    files: Sequence[StrPath],
    *,
    tokenizer: StrPath,
    out: StrPath,
    language: str = ...,
    sentences: Literal["split", "line"] = ...,
    documents: Literal["blank-line", "file"] = ...,
    bad_utf8: Literal["stop", "replace"] = ...,
    text_column: str | None = ...,
    words: Literal["auto", "none", "jieba"] = ...,
    user_dictionary: StrPath | None = ...,
    duplicates: Literal["keep", "exact", "near"] = ...,
    similarity: float = ...,
    only_languages: Sequence[str] = ...,
    test_sets: Sequence[StrPath] = ...,
    leaks: Literal["report", "drop"] = ...,
    list_dropped: bool = ...,
    processes: int | None = ...,
    runner: Literal["local", "slice", "ray"] = ...,
    index: int | None = ...,
    of: int | None = ...,
    address: str | None = ...,
) -> Report: ...
def pretrain(
    files: Sequence[str] = ...,
    *,
    corpus: StrPath | None = ...,
    out: StrPath,
    model: ModelSettings | Mapping[str, object] = ...,
    from_: str | None = ...,
    add_words: str | None = ...,
    dev: StrPath | Rows | None = ...,
    probe: StrPath | Rows | None = ...,
    vocab_size: int | None = ...,
    task: str | None = ...,
    steps: int | None = ...,
    tokens: int | None = ...,
    epochs: int | None = ...,
    budget: str | None = ...,
    length: int = ...,
    stages: str | None = ...,
    batch_tokens: int | None = ...,
    learning_rate: float | None = ...,
    keep: float | None = ...,
    mask_rate: float | None = ...,
    max_masked: int | None = ...,
    settings: Mapping[str, object] | None = ...,
    dev_tokens: int = ...,
    optimizer: OptimizerSettings | Mapping[str, object] = ...,
    schedule: ScheduleSettings | Mapping[str, object] = ...,
    training: TrainingSettings | Mapping[str, object] = ...,
    distill: DistillSettings | Mapping[str, object] = ...,
    precision: Literal["auto", "fp32", "bf16"] = ...,
    device: str = ...,
    threads: int | None = ...,
    seed: int = ...,
    seeds: Sequence[int] | None = ...,
    callbacks: Sequence[Tracker] = ...,
    track: Sequence[Literal["mlflow", "tensorboard", "wandb"]] = ...,
    card: CardSettings | Mapping[str, object] = ...,
    resume: bool = ...,
    accept_changes: bool = ...,
) -> Report: ...
def run(file: StrPath | Rows | None = ..., **overrides: object) -> Report: ...
def seal(out: StrPath) -> Report: ...
def search(
    model: str,
    file: StrPath | Rows,
    queries: Sequence[str] = ...,
    *,
    top_k: int = ...,
    index: StrPath | None = ...,
    columns: Mapping[str, str] | None = ...,
    length: int | None = ...,
    truncation: Literal["truncate", "error", "window"] | None = ...,
    settings: Mapping[str, object] | None = ...,
    batch_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
) -> SearchResults: ...
def serve(
    models: Sequence[str],
    *,
    host: str = ...,
    port: int = ...,
    allowed_host: Sequence[str] = ...,
    allow_origin: Sequence[str] = ...,
    keys: StrPath | None = ...,
    insecure: bool = ...,
    limits: Limits | Mapping[str, object] = ...,
    length: int | None = ...,
    truncation: Literal["truncate", "error", "window"] | None = ...,
    settings: Mapping[str, object] | None = ...,
    batch_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
) -> Report: ...
def show(
    path: StrPath,
    *,
    attention: str | None = ...,
    attention_pair: str | None = ...,
    live: bool = ...,
    out: StrPath | None = ...,
    accept_changes: bool = ...,
) -> Report: ...
def train_tokenizer(
    files: Sequence[str],
    *,
    out: StrPath,
    vocab_size: int = ...,
    lowercase: bool = ...,
    strip_accents: bool | None = ...,
    min_frequency: int = ...,
    alphabet_limit: int | None = ...,
    bad_utf8: Literal["stop", "replace"] = ...,
    text_column: str | None = ...,
) -> Report: ...

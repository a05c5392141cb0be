"""Every step from text to predictions in a store, through the same commands; records show addresses alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie import config
from bertie.cli import main
from bertie.errors import DataError, ResourceError, SettingsError
from bertie.storage import outputs
from bertie.storage.mark import MARK
from bertie.tokenizer.writing import save_tokenizer

SHAPE: dict[str, Any] = {"batch_tokens": 256, "threads": 1, "model": {"size": "1/32", "num_heads": 2}}
STORY = "The cat sat. The dog ran. The cat ran. " * 10
ROWS = "text\tlabel\n" + "the cat sat\tgood\nthe dog ran\tbad\n" * 8


@pytest.fixture
def texts(remote: Any) -> Any:
    for number in range(3):
        remote.pipe(f"/b/text/{number}.txt", "\n\n".join([STORY] * 5).encode())
    remote.pipe("/b/train.tsv", ROWS.encode())
    return remote


@pytest.fixture
def corpus(texts: Any, tiny_tokenizer: Any, tmp_path: Path) -> str:
    save_tokenizer(tiny_tokenizer, tmp_path / "tokenizer")
    given: dict[str, Any] = {"tokenizer": tmp_path / "tokenizer", "out": "memory://b/corpus", "processes": 1}
    bertie.prepare_corpus(["memory://b/text/*.txt"], **given)
    return "memory://b/corpus"


def names(remote: Any, folder: str) -> list[str]:
    return sorted(name.removeprefix(f"/b/{folder}/") for name in remote.store if name.startswith(f"/b/{folder}/"))


def local_names(remote: Any, tmp_path: Path) -> list[str]:
    """Return the objects that hold the name of a local folder."""
    return [name for name in remote.store if str(tmp_path / "cache").encode() in remote.cat(name)]


def test_from_text_to_predictions(texts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-tokenizer", "memory://b/text/*.txt", "--out", "memory://b/tok", "--vocab-size", "60"]) == 0
    assert "next: bertie prepare-corpus memory://b/text/*.txt --tokenizer memory://b/tok" in capsys.readouterr().err
    words = ["memory://b/text", "--tokenizer", "memory://b/tok", "--out", "memory://b/corpus", "--processes", "1"]
    assert main(["prepare-corpus", *words]) == 0
    assert capsys.readouterr().out.startswith("Corpus memory://b/corpus")
    sources = json.loads(texts.cat("/b/corpus/manifest.json"))["sources"]
    assert [one["path"] for one in sources] == [f"memory://b/text/{number}.txt" for number in range(3)]

    bertie.pretrain(corpus="memory://b/corpus", out="memory://b/run", steps=3, **SHAPE)
    assert config.read("memory://b/run")["corpus"] == "memory://b/corpus"
    trained = bertie.finetune(
        "memory://b/run/model",
        train="memory://b/train.tsv",
        dev="memory://b/train.tsv",
        out="memory://b/films",
        epochs=1,
    )
    assert trained.values["report"] == "memory://b/films/report.html"
    assert bertie.evaluate("memory://b/films/model", "memory://b/train.tsv", report="memory://b/e.html").values
    assert b"<html" in texts.cat("/b/e.html")
    assert bertie.load("memory://b/films/model").predict("the cat sat").label in ("good", "bad")
    bertie.predict("memory://b/films/model", file="memory://b/train.tsv", out="memory://b/p.jsonl")
    assert len(texts.cat("/b/p.jsonl").splitlines()) == 16
    assert not names(texts, "p.jsonl.parts")
    bertie.convert("memory://b/films/model", "memory://b/converted")
    assert main(["show", "memory://b/films", "--quiet"]) == 0
    shown = capsys.readouterr()
    assert "memory://b/films/config.toml" in shown.out
    assert str(tmp_path / "cache") not in shown.out + shown.err
    again = bertie.run("memory://b/run/config.toml", out="memory://b/again")
    assert again.title == "Pre-trained memory://b/again/model"
    for _ in range(2):  # an earlier page is replaced, as on the disk
        bertie.compare(["memory://b/run", "memory://b/again"], out="memory://b/c.html", test=False)
    assert texts.cat("/b/again/model/model.safetensors") == texts.cat("/b/run/model/model.safetensors")
    assert local_names(texts, tmp_path) == []
    copies = [file for file in (tmp_path / "cache" / "copies").rglob("*") if "films" in file.parts and file.is_file()]
    assert all(file.stat().st_nlink > 1 for file in copies), "an output stayed on the disk"


def test_a_corpus_in_a_store_has_the_bytes_of_one_on_the_disk(corpus: str, texts: Any, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_bytes(texts.cat(f"/b/text/{number}.txt"))
    bertie.prepare_corpus(
        [tmp_path / "*.txt"], tokenizer=tmp_path / "tokenizer", out=f"file://{tmp_path / 'corpus'}", processes=1
    )
    for name in ("tokens.bin", "sentences.bin", "documents.bin"):
        assert texts.cat(f"/b/corpus/{name}") == (tmp_path / "corpus" / name).read_bytes()
    bertie.pretrain(corpus=f"file://{tmp_path / 'corpus'}", out=f"file://{tmp_path / 'run'}", steps=2, **SHAPE)
    assert config.read(tmp_path / "run")["corpus"] == str(tmp_path / "corpus")
    assert main(["show", f"file://{tmp_path / 'run'}", "--quiet"]) == 0


def test_outputs_that_exist_are_refused(corpus: str, texts: Any, tmp_path: Path) -> None:
    before = dict(texts.store)
    with pytest.raises(SettingsError, match="memory://b/corpus exists already; choose another --out"):
        bertie.prepare_corpus(["memory://b/text"], tokenizer=tmp_path / "tokenizer", out="memory://b/corpus")
    with pytest.raises(SettingsError, match="memory://b/text exists already; resume it with --resume, or choose"):
        bertie.pretrain(corpus=corpus, out="memory://b/text", steps=2, **SHAPE)
    assert texts.store == before


def test_a_command_that_fails_uploads_nothing(texts: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="memory://b/none"):
        bertie.prepare_corpus(["memory://b/text"], tokenizer="memory://b/none", out="memory://b/corpus")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    with pytest.raises((SettingsError, DataError), match=r"memory://b/train\.tsv"):
        bertie.prepare_corpus(["memory://b/train.tsv"], tokenizer=tmp_path, out="memory://b/corpus", text_column="none")
    assert not names(texts, "corpus")


def test_half_a_corpus_is_refused(corpus: str, texts: Any) -> None:
    texts.rm_file("/b/corpus/tokens.bin")
    with pytest.raises(DataError, match=r"the store has no tokens\.bin"):
        bertie.pretrain(corpus=corpus, out="memory://b/run", steps=2, **SHAPE)
    assert not names(texts, "run")


def test_a_stopped_run_goes_on_from_its_checkpoint_in_the_store(
    corpus: str, texts: Any, break_off: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "PAUSE_SECONDS", 0.0)
    wishes: dict[str, Any] = {"corpus": corpus, "steps": 8, "training": {"save_every": 2}, **SHAPE}
    bertie.pretrain(out="memory://b/whole", **wishes)
    break_off(at=6, out="memory://b/run", **wishes)
    state = json.loads(texts.cat(f"/b/run/{MARK}"))
    assert not state["complete"]
    assert any(name.startswith("checkpoints/step-00000004/") for name in state["files"])
    assert any("step-00000004" in name for name in names(texts, "run"))
    with pytest.raises(SettingsError, match="--resume"):
        bertie.pretrain(out="memory://b/run", **wishes)
    bertie.pretrain(out="memory://b/run", resume=True, **wishes)
    assert texts.cat("/b/run/model/model.safetensors") == texts.cat("/b/whole/model/model.safetensors")
    assert not [name for name in names(texts, "run") if "checkpoints" in name]
    assert json.loads(texts.cat(f"/b/run/{MARK}"))["complete"]
    bertie.pretrain(out="memory://b/run", resume=True, **wishes)  # finished: nothing to do


def test_several_seeds(corpus: str, texts: Any) -> None:
    given: dict[str, Any] = {"corpus": corpus, "out": "memory://b/runs", "steps": 2, "seeds": (1, 2), **SHAPE}
    bertie.pretrain(**given)
    weights = texts.cat("/b/runs/seed-2/model/model.safetensors")
    texts.rm_file("/b/runs/seed-2/model/model.safetensors")
    with pytest.raises(DataError, match=r"the store has no seed-2/model/model\.safetensors"):
        bertie.pretrain(resume=True, **given)
    texts.pipe("/b/runs/seed-2/model/model.safetensors", weights)
    bertie.pretrain(resume=True, **given)
    assert bertie.load("memory://b/runs/seed-2/model")


def test_a_state_that_cannot_be_uploaded_is_kept(
    corpus: str, texts: Any, tmp_path: Path, break_off: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    wishes: dict[str, Any] = {"corpus": corpus, "steps": 8, "training": {"save_every": 2}, **SHAPE}
    texts.failures["put_file"] = 10_000
    break_off(at=6, out="memory://b/run", **wishes)
    texts.failures["put_file"] = 0
    (kept,) = (tmp_path / "cache" / "unsent").glob("*/run")
    assert f"kept in {kept}" in capsys.readouterr().err
    for file in kept.rglob("*"):
        if file.is_file():
            texts.pipe(f"/b/run/{file.relative_to(kept).as_posix()}", file.read_bytes())
    bertie.pretrain(out="memory://b/run", resume=True, **wishes)
    assert bertie.load("memory://b/run/model")


def test_an_output_that_cannot_be_uploaded_is_kept(corpus: str, texts: Any, tmp_path: Path) -> None:
    texts.failures["put_file"] = 10_000
    with pytest.raises(ResourceError, match="What was computed is kept in") as caught:
        bertie.pretrain(corpus=corpus, out="memory://b/run", steps=2, **SHAPE)
    (kept,) = (tmp_path / "cache" / "unsent").glob("*/run")
    assert str(kept) in str(caught.value)
    assert bertie.load(kept / "model")


def test_predictions_go_on_after_the_parts_in_the_store(
    corpus: str, texts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bertie.bulk import run
    from bertie.bulk.parts import Work

    bertie.pretrain(corpus=corpus, out="memory://b/run", steps=2, **SHAPE)
    texts.pipe("/b/in.txt", b"the [MASK] sat\n" * 10)
    monkeypatch.setattr(run, "PART_ROWS", 2)
    monkeypatch.setattr(outputs, "PAUSE_SECONDS", 0.0)
    given: dict[str, Any] = {"file": "memory://b/in.txt", "out": "memory://b/p.jsonl"}
    bertie.predict("memory://b/run/model", file="memory://b/in.txt", out="memory://b/whole.jsonl")
    add = Work.add

    def stopping(self: Work, *parts: Any) -> None:
        add(self, *parts)
        if len(self.parts) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(BaseException, match="continue with --resume"):
        patch.setattr(Work, "add", stopping)
        bertie.predict("memory://b/run/model", **given)
    assert "000002.jsonl" in names(texts, "p.jsonl.parts")
    with pytest.raises(SettingsError, match="resume"):
        bertie.predict("memory://b/run/model", **given)
    texts.calls.clear()
    bertie.predict("memory://b/run/model", resume=True, **given)
    assert texts.cat("/b/p.jsonl") == texts.cat("/b/whole.jsonl")
    assert not names(texts, "p.jsonl.parts")
    with pytest.raises(SettingsError, match="exists already"):
        bertie.predict("memory://b/run/model", **given)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["seal", "memory://b/out"], "shared folder"),
        (["demo", "--out", "memory://b/out"], "takes no addresses"),
        (["show", "memory://b/m", "--accept-changes"], "give a local folder"),
        (["search", "model", "texts.txt", "q", "--index", "memory://b/i"], "--index needs a local file"),
        (["prepare-corpus", "a.txt", "--tokenizer", "t", "--out", "memory://b/c", "--runner", "slice"], "share"),
        (["prepare-corpus", "memory://b/a.txt", "--tokenizer", "t", "--out", "c", "--runner", "ray"], "share"),
        (["prepare-corpus", "a.txt", "--tokenizer", "t", "--out", "memory://b/*"], "is a pattern"),
    ],
)
def test_where_addresses_cannot_work(remote: Any, capsys: Any, words: list[str], reason: str) -> None:
    assert main(words) == 2
    assert reason in capsys.readouterr().err
    assert not remote.store


def test_several_processes_need_a_shared_folder(corpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="under torchrun, --out must be a folder"):
        bertie.pretrain(corpus=corpus, out="memory://b/run", steps=2, **SHAPE)


def test_a_text_that_looks_like_an_address_stays_a_text(corpus: str, capsys: Any) -> None:
    bertie.pretrain(corpus=corpus, out="memory://b/run", steps=2, **SHAPE)
    capsys.readouterr()
    assert main(["predict", "memory://b/run/model", "memory://b/none", "--task", "features", "--json"]) == 0
    assert "memory" in capsys.readouterr().out


def test_models_to_serve_keep_their_names(remote: Any) -> None:
    from bertie.commands._storage import _local

    remote.pipe("/b/m/config.json", b"{}")
    named, plain, hub = _local("models", ("films=memory://b/m", "memory://b/m", "films=owner/model"))
    assert named == f"films={plain}" and (Path(plain) / "config.json").is_file()
    assert hub == "films=owner/model"
    distill = _local(
        "distill", config.validate(bertie.pretrain, {"distill": {"teacher": "memory://b/m"}}, partial=True)["distill"]
    )
    assert distill.teacher == plain


def test_job_files_keep_addresses(remote: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "c.toml").write_text('command = "pretrain"\ncorpus = "s3://b/corpus"\nout = "runs"\nsteps = 2\n')
    assert main(["launch", "slurm", str(tmp_path / "c.toml")]) in (0, 2)
    assert not remote.calls

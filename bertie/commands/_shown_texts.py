"""Describe prepared corpora and tokenizers for `show`."""

from pathlib import Path
from typing import Any

from bertie.commands._integrity import corpus_files
from bertie.commands._shown import DAMAGED, Description, count, integrity, quoted, size, some
from bertie.commands.command import Report
from bertie.errors import DataError, SettingsError
from bertie.tokenizer import sentencepiece
from bertie.untrusted import LARGE_BYTES, read_object, read_text

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", *sentencepiece.NAMES)
"""Files that hold a vocabulary."""
_MARKS = ("[UNK]", "<unk>", "[CLS]", "<s>")


def describe_corpus(folder: Path) -> Report:
    """Describe a prepared corpus."""
    manifest = read_object(folder / "manifest.json")
    if manifest.get("format") != "bertie corpus":
        raise SettingsError(f"{folder / 'manifest.json'} is not the manifest of a prepared corpus")
    files = manifest.get("files", {})
    try:
        num_bytes = sum(int(entry["bytes"]) for entry in files.values())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'manifest.json'}: the sizes of the files are missing; it is broken") from error
    described = {name: value for name, value in manifest.items() if name not in ("files", "sha256")}
    values: dict[str, Any] = {"kind": "corpus", "path": str(folder), **described, "num_bytes": num_bytes}
    values["files"], is_whole = corpus_files(folder, manifest)
    figures = {name: manifest[name] for name in ("num_documents", "num_sentences", "num_tokens") if name in manifest}
    found = manifest.get("statistics")
    statistics = found if isinstance(found, dict) else {}
    chosen = manifest.get("settings")
    settings = chosen if isinstance(chosen, dict) else {}
    sources = manifest.get("sources")
    paths = [str(one.get("path")) for one in sources if isinstance(one, dict)] if isinstance(sources, list) else []
    languages = statistics.get("documents_by_language")
    unknown, tokens = statistics.get("num_unknown"), manifest.get("num_tokens")
    share = ""
    if isinstance(unknown, int) and isinstance(tokens, int) and tokens > 0:
        share = f"{100 * unknown / tokens:.3f} %"
    return Description(
        title=f"{folder}: a prepared corpus of {_amount(tokens)} tokens",
        values=values,
        facts={
            "made by": "bertie prepare-corpus",
            **{name.removeprefix("num_"): value for name, value in figures.items()},
            "dropped": _dropped(statistics.get("dropped_documents")),
            "test sets": _test_sets(manifest.get("selection")),
            "languages": some(languages) if isinstance(languages, dict) else None,
            "text": size(statistics["text_bytes"]) if isinstance(statistics.get("text_bytes"), int) else None,
            "unknown pieces": share,
            "vocabulary": manifest.get("vocab_size"),
            "size": size(num_bytes),
            "from": f"{len(paths)} files: {some(paths, 3)}" if len(paths) > 3 else some(paths),
            "settings": ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items() if value),
            "fingerprint": str(manifest.get("fingerprint", ""))[:16],
            "files": integrity(values["files"]),
        },
        next_command=f"bertie pretrain --corpus {quoted(folder)} --model.size mini --out OUT",
        exit_code=0 if is_whole else DAMAGED,
    )


def _dropped(counts: Any) -> str | None:
    """Return the number of documents dropped for each reason; None if there are none."""
    if not isinstance(counts, dict) or not counts:
        return None
    return ", ".join(f"{str(reason).replace('_', ' ')} {_amount(number)}" for reason, number in counts.items())


def _test_sets(selection: Any) -> str | None:
    """Return how many rows of test sets occur in the text; None if none was looked for."""
    found = selection.get("test_sets") if isinstance(selection, dict) else None
    if not isinstance(found, list) or not found:
        return None
    sets = [one for one in found if isinstance(one, dict)]
    return ", ".join(
        f"{_amount(one.get('rows_found'))} of {_amount(one.get('rows'))} rows of {one.get('path')} occur in the text"
        for one in sets
    )


def _amount(number: Any) -> str:
    return count(number) if isinstance(number, int) else "unknown"


def describe_tokenizer(folder: Path) -> Report:
    """Describe a folder with a tokenizer."""
    values: dict[str, Any] = {"kind": "tokenizer", "path": str(folder)}
    if (file := folder / "tokenizer.json").is_file():
        contents = read_object(file, limit=LARGE_BYTES)
        try:
            values |= {"model": contents["model"].get("type"), "vocab_size": len(contents["model"]["vocab"])}
            values |= {"lowercase": (contents.get("normalizer") or {}).get("lowercase")}
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(f"{file}: has no vocabulary; it is not a tokenizer in Hugging Face's format") from error
    elif (file := folder / "vocab.txt").is_file():
        values["vocab_size"] = len(_pieces(file))
    elif (file := folder / "vocab.json").is_file():
        values |= {"model": "BPE", "vocab_size": len(read_object(file, limit=LARGE_BYTES))}
    else:
        file = next(folder / name for name in sentencepiece.NAMES if (folder / name).is_file())
        values |= {"model": "Unigram", "vocab_size": len(sentencepiece.read(file).pieces)}
    if (file := folder / "tokenizer_config.json").is_file():
        values["settings"] = read_object(file)
    settings = values.get("settings", {})
    lowercase = values.get("lowercase", settings.get("do_lower_case"))
    specials = [settings[name] for name in settings if name.endswith("_token") and isinstance(settings[name], str)]
    return Description(
        title=f"{folder}: a tokenizer with {values['vocab_size']:,} pieces",
        values=values,
        facts={
            "kind": values.get("model") or "WordPiece",
            "pieces": values["vocab_size"],
            "letters": "lower-cased" if lowercase else "as they are" if lowercase is not None else None,
            "special tokens": some(specials),
            "class": settings.get("tokenizer_class"),
        },
        next_command=f"bertie prepare-corpus FILES --tokenizer {quoted(folder)} --out OUT",
    )


def is_vocabulary(file: Path) -> bool:
    """Tell whether a text file is a WordPiece vocabulary: one piece a line, a token for unknown words among them."""
    with file.open("rb") as stream:
        first = stream.read(100_000).decode("utf-8", "replace").splitlines()[:2000]
    return any(mark in first for mark in _MARKS)


def describe_vocabulary(file: Path) -> Report:
    """Describe a file with one piece a line."""
    pieces = _pieces(file)
    values: dict[str, Any] = {
        "kind": "vocabulary",
        "path": str(file),
        "vocab_size": len(pieces),
        "distinct": len(set(pieces)),
        "lowercase": not any(piece != piece.lower() for piece in pieces if not piece.startswith(("[", "<"))),
        "continuations": sum(piece.startswith("##") for piece in pieces),
        "special_tokens": [piece for piece in pieces if piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")],
    }
    return Description(
        title=f"{file}: a WordPiece vocabulary with {len(pieces):,} pieces",
        values=values,
        facts={
            "pieces": values["vocab_size"],
            "twice": len(pieces) - len(set(pieces)) or None,
            "inside of words (##)": values["continuations"],
            "capitals": "none: texts are lower-cased" if values["lowercase"] else "yes: texts keep their capitals",
            "special tokens": some(values["special_tokens"]),
        },
        next_command=f"bertie prepare-corpus FILES --tokenizer {quoted(file.parent)} --out OUT"
        if file.name == "vocab.txt"
        else f"mkdir TOKENIZER && cp {quoted(file)} TOKENIZER/vocab.txt",
    )


def _pieces(file: Path) -> list[str]:
    return read_text(file, limit=LARGE_BYTES).removesuffix("\n").split("\n")

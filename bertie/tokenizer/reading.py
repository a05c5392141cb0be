"""Load a tokenizer from a folder or a file, with the result that transformers gives, or refuse it."""

from dataclasses import replace
from pathlib import Path

from tokenizers import AddedToken, models

from bertie import progress
from bertie.errors import DataError
from bertie.native import said
from bertie.tokenizer import unigram
from bertie.tokenizer.added import Added, add, named_tokens, roles
from bertie.tokenizer.layout import is_bare
from bertie.tokenizer.rebuild import rebuilt
from bertie.tokenizer.rust import from_file
from bertie.tokenizer.sources import FOLLOWED, Sources, declared, gather
from bertie.tokenizer.subwords import SubwordTokenizer
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.vocabulary import read

_SHOWN = 3


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read a folder that holds tokenizer.json, vocab.txt, vocab.json with merges.txt, or a sentencepiece model.

    Args:
        path: the folder, or one such file.

    Raises:
        SettingsError: there is no such file.
        DataError: a file holds no tokenizer that bertie reads, or files contradict each other.
    """
    try:
        return _load(path)
    except (TypeError, KeyError, AttributeError, ValueError, IndexError, OverflowError) as error:
        # An untrusted file may hold a value of any type anywhere.
        raise DataError(
            f"{path}: the tokenizer's files hold an invalid value ({type(error).__name__}: {said(error)})"
        ) from error


def _load(path: str | Path) -> Tokenizer:
    sources = _with_case(gather(path))
    found = named_tokens(sources)
    remarks = _other_vocabulary(sources)
    if sources.family == "file":
        rust = from_file(sources.file)
        names = roles(sources, found, lambda name: rust.token_to_id(name) is not None)
    else:
        more = {*declared(sources), *_appended(sources, found)}
        names = roles(sources, found, lambda name: name in sources.vocabulary or name in more)
        remarks += _spaced_mask(sources, found, names[-1])
        if sources.proto is None:
            rust = rebuilt(sources, names)
        else:
            rust = unigram.converted(sources, sources.proto, names)
            remarks += unigram.remarks(sources, sources.proto)
            found.extra += unigram.own_tokens(sources.proto)
    add(rust, sources, found)
    kind: type[Tokenizer] = SubwordTokenizer if isinstance(rust.model, (models.BPE, models.Unigram)) else Tokenizer
    tokenizer = kind(rust, source=str(sources.file), specials=names, settings=sources.settings)
    tells, doubt = _tells_segments(sources)
    tokenizer.tells_segments, tokenizer.doubt = tells and tokenizer.tells_segments, doubt
    tokenizer.is_bare = is_bare(rust) and sources.family == "file"
    if sources.class_name in FOLLOWED and sources.state:
        remarks.append(
            f"{sources.file} is followed, as transformers 4 did; the {sources.class_name} of transformers 5 builds its "
            "own pipeline around the vocabulary, so it may cut some texts differently"
        )
    if tokenizer.is_bare:
        first, last = names[2:4]
        remarks.append(f"{sources.file} adds no special tokens to a text; bertie adds {first} and {last}")
    tokenizer.remarks = tuple(remarks)
    return tokenizer


def _with_case(sources: Sources) -> Sources:
    """Decide whether a vocab.txt without other files keeps capitals.

    Raises:
        DataError: a model's folder doesn't say, and its pieces have capitals.
    """
    if sources.family != "bert" or sources.state or sources.says("do_lower_case"):
        return sources
    capitals = [piece for piece in sources.vocabulary if piece.isalpha() and piece != piece.lower()]
    if not capitals:
        return sources
    shown = ", ".join(map(repr, capitals[:_SHOWN]))
    if sources.model:
        raise DataError(
            f"{sources.file} has pieces with capitals ({shown}), but {sources.config.name} doesn't say whether texts "
            'are lower-cased; by default transformers does it. Write "do_lower_case": false into it to keep '
            'capitals, or "do_lower_case": true'
        )
    progress.note(
        f'{sources.file} has pieces with capitals ({shown}), so texts keep their capitals ("do_lower_case": false)'
    )
    return replace(sources, settings={**sources.settings, "do_lower_case": False})


def _appended(sources: Sources, found: Added) -> set[str]:
    """Return the mask of a DeBERTa, which its sentencepiece model lacks: it gets the id after the last piece."""
    return {str(found.named["mask_token"])} if sources.family == "deberta-v2" else set()


def _spaced_mask(sources: Sources, found: Added, mask: str) -> list[str]:
    """Let the mask of a RoBERTa include the space before it, as in every released one; return a note."""
    if (
        sources.family not in ("roberta", "xlm-roberta")
        or sources.state
        or isinstance(found.named.get("mask_token"), AddedToken)
    ):
        return []
    found.named["mask_token"] = AddedToken(mask, lstrip=True, normalized=False, special=True)
    return [
        f"{sources.file.parent} doesn't say whether {mask} includes the space before it; it does in bertie and in "
        f"transformers 4, but not in transformers 5"
    ]


def _tells_segments(sources: Sources) -> tuple[bool, list[str]]:
    """Tell whether transformers passes segment ids to the model; also return notes for the user."""
    names = sources.settings.get("model_input_names")
    if isinstance(names, list):
        return "token_type_ids" in names, []
    if sources.family in ("bert", "roberta", "deberta-v2", "xlm-roberta"):
        return "roberta" not in sources.family and sources.class_name != "DistilBertTokenizer", []
    version = sources.model.get("transformers_version")
    if isinstance(version, str) and version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) >= 5:
        return False, []
    return True, [
        f"{sources.config} has no model_input_names; the second text of a pair is segment 1, as in transformers 4, "
        "while transformers 5 gives both texts segment 0"
    ]


def _other_vocabulary(sources: Sources) -> list[str]:
    """Return a note if vocab.txt differs from tokenizer.json, which is the one that is used."""
    file = sources.file.with_name("vocab.txt")
    pieces = (sources.state.get("model") or {}).get("vocab")
    if not sources.state or not isinstance(pieces, dict) or not file.is_file():
        return []
    if file.read_bytes() == "\n".join([*pieces, ""]).encode() and [*pieces.values()] == [*range(len(pieces))]:
        return []  # the usual case, quickly decided
    known = {**pieces, **declared(sources)}
    for piece, number in read(file).items():
        if piece and known.get(piece) != number:
            return [f"{file} has {piece!r} on line {number + 1}, but {sources.file.name}, which is used, does not"]
    return []

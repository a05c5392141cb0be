"""Write a tokenizer's files so that bertie and transformers read the same tokenizer, and check them by reading.

A plain BERT tokenizer is written as a BertTokenizer with vocab.txt. One that RobertaTokenizer would build is written as
that class, with vocab.json and merges.txt. Any other is written as tokenizer.json alone, which PreTrainedTokenizerFast
follows exactly.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import DataError
from bertie.files.atomic import write_text
from bertie.tokenizer.layout import is_bare
from bertie.tokenizer.letters import BYTES
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.rebuild import ROLES, template
from bertie.tokenizer.rust import readable
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.vocabulary import fits

_NO_SEGMENTS = ["input_ids", "attention_mask"]
_SEGMENTS = ["input_ids", "token_type_ids", "attention_mask"]
# Settings that bertie doesn't use but keeps: maximum length, sides of padding and truncation, decoding.
_KEPT = ("model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces", "errors")
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")


def save_tokenizer(tokenizer: Tokenizer, folder: str | Path, *, segments: bool = True) -> None:
    """Write the files from which bertie and other programs load a tokenizer, and check them by reading.

    Args:
        tokenizer: the tokenizer to write.
        folder: the folder to write into.
        segments: whether the folder's model uses segment ids; other programs pass them unless the files forbid it.

    Raises:
        DataError: the files, when read, give another tokenizer.
    """
    place, rust = Path(folder), RustTokenizer.from_str(tokenizer.as_json)
    if is_bare(rust):
        ends = [(tokenizer.tokens[piece], piece) for piece in (tokenizer.start, tokenizer.separator)]
        rust.post_processor = template(*ends)
    names: dict[str, Any] = {role: _role(tokenizer, name) for role, name in zip(ROLES, tokenizer.specials, strict=True)}
    settings, files = _settings(tokenizer, names), ["tokenizer.json"]
    write_text(place / "tokenizer.json", rust.to_str(pretty=True))
    if settings["tokenizer_class"] == "BertTokenizer":
        write_text(place / "vocab.txt", "".join(f"{token}\n" for token in tokenizer.tokens))
        files.append("vocab.txt")
    elif settings["tokenizer_class"] == "RobertaTokenizer":
        with readable(f"{place}/vocab.json"):
            rust.model.save(str(place))
        files.append("vocab.json")
        names = {"bos_token": names["cls_token"], "eos_token": names["sep_token"], **names}
    if not segments:
        settings["model_input_names"] = _NO_SEGMENTS
    elif settings["tokenizer_class"] != "BertTokenizer":
        settings["model_input_names"] = _SEGMENTS
    write_text(place / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
    write_text(place / "special_tokens_map.json", json.dumps(names, indent=2) + "\n")
    for name in files:
        again = load_tokenizer(place / name)
        if again.golden_ids() != tokenizer.golden_ids() or again.special_ids != tokenizer.special_ids:
            raise DataError(f"{place / name} does not give the same ids after writing")


def _settings(tokenizer: Tokenizer, names: dict[str, Any]) -> dict[str, Any]:
    """Return the values of tokenizer_config.json, including the class."""
    kept = {name: tokenizer.config[name] for name in _KEPT if name in tokenizer.config}
    typed = {role: {"__type": "AddedToken", **name} if isinstance(name, dict) else name for role, name in names.items()}
    if tokenizer.is_plain and fits(tokenizer.tokens):
        return {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": tokenizer.lowercase,
            "strip_accents": tokenizer.settings["strip_accents"],
            "tokenize_chinese_chars": tokenizer.settings["handle_chinese_chars"],
            **typed,
            **kept,
        }
    if _is_roberta(tokenizer):
        pre, after = tokenizer.state["pre_tokenizer"], tokenizer.state["post_processor"]
        ends = {"bos_token": typed["cls_token"], "eos_token": typed["sep_token"]}
        flags = {"add_prefix_space": pre["add_prefix_space"], "trim_offsets": after["trim_offsets"]}
        return {"tokenizer_class": "RobertaTokenizer", **ends, **typed, **flags, **kept}
    return {"tokenizer_class": "PreTrainedTokenizerFast", **typed, **kept}


def _is_roberta(tokenizer: Tokenizer) -> bool:
    """Tell whether RobertaTokenizer would build the same tokenizer from the vocabulary."""
    state, model = tokenizer.state, tokenizer.state["model"]
    pre, after = state["pre_tokenizer"] or {}, state["post_processor"] or {}
    return (
        model["type"] == "BPE"
        and state["normalizer"] is None
        and pre.get("type") == "ByteLevel"
        and pre.get("use_regex") is not False
        and after.get("type") == "RobertaProcessing"
        and (not model["unk_token"] or BYTES.keys() <= set(tokenizer.tokens))
        and after["add_prefix_space"] == pre["add_prefix_space"]
        and not any(model.get(name) for name in ("byte_fallback", "ignore_merges", "dropout"))
        and not any(model.get(name) for name in ("continuing_subword_prefix", "end_of_word_suffix"))
        and all(tokenizer.tokens)
        and {token["content"] for token in state["added_tokens"]} <= set(tokenizer.specials)
    )


def _role(tokenizer: Tokenizer, name: str) -> Any:
    """Describe a special token as other programs do: by its name, or with its flags if any is set."""
    flags = next((token for token in tokenizer.state["added_tokens"] if token["content"] == name), None)
    if flags is None or not any(flags[flag] for flag in _FLAGS):
        return name
    return {flag: flags[flag] for flag in ("content", "lstrip", "normalized", "rstrip", "single_word", "special")}

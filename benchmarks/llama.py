"""llama.cpp as a peer: convert a BERT folder to GGUF (weights in F16 or Q8_0), and embed texts with it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import inputs
from benchmarks.contest import Work

_SPACE = "\u2581"  # GGUF marks pieces that start a word with it, and has no ## within words
_BATCH = 512  # tokens; larger batches are slower, because attention spans the whole batch
FORMATS = {"bf16": "F16", "int8": "Q8_0"}
"""The GGUF type of the weights for each precision."""


def encode(kind: str, work: Work, length: int) -> Callable[[Sequence[str]], Any]:
    """Prepare `Llama(model).embed`, which tokenizes texts itself and packs them into batches.

    It can't truncate to `length` tokens, so each text is cut after its last token that fits.
    """
    from llama_cpp import Llama

    threads = work.options.threads
    model = Llama(
        str(written(kind, work)),
        embedding=True,
        n_ctx=_BATCH,
        n_batch=_BATCH,
        n_ubatch=_BATCH,
        n_threads=threads,
        n_threads_batch=threads,
        verbose=False,
    )
    tokenizer = inputs.rust_tokenizer(inputs.model_folder(work.folder, work.options))
    tokenizer.enable_truncation(length)

    def embed(texts: Sequence[str]) -> Any:
        encodings = tokenizer.encode_batch(list(texts))
        return model.embed([text[: each.offsets[-2][1]] for text, each in zip(texts, encodings, strict=True)])

    return embed


def written(kind: str, work: Work) -> Path:
    """Write the encoder as GGUF, and return the file."""
    import gguf
    from safetensors.numpy import load_file

    path = work.folder / f"{kind}.gguf"
    if path.exists():
        return path
    folder = Path(inputs.model_folder(work.folder, work.options))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    unfinished = path.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, "bert")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    _add_vocabulary(writer, folder, config)
    format_ = gguf.GGMLQuantizationType[FORMATS[kind]]
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, values in load_file(folder / "model.safetensors").items():
        gguf_name = names.get_name(name.removeprefix("bert."), try_suffixes=(".weight", ".bias"))
        if gguf_name is None:  # the pooler and heads of pre-training
            continue
        values = values.astype("float32")
        if values.ndim < 2 or "embeddings.position" in name or "token_type" in name:
            writer.add_tensor(gguf_name, values)
        else:
            writer.add_tensor(gguf_name, gguf.quantize(values, format_), raw_dtype=format_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unfinished.rename(path)


def _add_vocabulary(writer: Any, folder: Path, config: dict[str, Any]) -> None:
    """Add the WordPiece vocabulary in llama.cpp's form."""
    from gguf import TokenType

    pieces = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    special = {piece: number for number, piece in enumerate(pieces) if piece.startswith("[") and piece.endswith("]")}
    shown = [piece if piece in special else piece[2:] if piece.startswith("##") else _SPACE + piece for piece in pieces]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_token_list(shown)
    writer.add_token_types([TokenType.CONTROL if piece in special else TokenType.NORMAL for piece in pieces])
    for name, add in (
        ("[UNK]", writer.add_unk_token_id),
        ("[SEP]", writer.add_sep_token_id),
        ("[PAD]", writer.add_pad_token_id),
        ("[MASK]", writer.add_mask_token_id),
        ("[CLS]", writer.add_bos_token_id),
        ("[SEP]", writer.add_eos_token_id),
    ):
        add(special[name])

"""Other programs that run a BERT folder on a CPU, each as one function: (ids, mask) -> mean-pooled vectors.

Exports and conversions are made once per run, in its folder, and are not timed.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import inputs
from benchmarks.contest import Work

Run = Callable[[Any, Any], NDArray[np.float32]]
_CALIBRATION = 128  # sentences for calibration; none of them is measured
_NAMES = ("input_ids", "attention_mask", "token_type_ids")


def mean(hidden: Any, mask: Any) -> NDArray[np.float32]:
    """Average hidden vectors (B, S, H) over the real tokens."""
    weights = mask[:, : hidden.shape[1], None].astype(np.float32)
    return np.asarray((hidden * weights).sum(1) / weights.sum(1), np.float32)


def transformers(kind: str, work: Work, compiled: Callable[[Any], Any] = lambda model: model) -> Run:
    """Run `AutoModel` with sdpa, in fp32 or with bf16 weights, compiled by `compiled`."""
    import torch
    from transformers import AutoModel

    torch.set_grad_enabled(False)
    dtype = torch.float32 if kind == "exact" else torch.bfloat16
    folder = str(inputs.model_folder(work.folder, work.options))
    model = compiled(AutoModel.from_pretrained(folder, attn_implementation="sdpa", dtype=dtype).eval())

    def run(ids: Any, mask: Any) -> NDArray[np.float32]:
        tokens, attention_mask = torch.from_numpy(ids), torch.from_numpy(mask)
        hidden = model(input_ids=tokens, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask[..., None].to(hidden.dtype)
        vectors: NDArray[np.float32] = ((hidden * weights).sum(1) / weights.sum(1)).float().numpy()
        return vectors

    return run


def zentorch(kind: str, work: Work) -> Run:
    """Run `AutoModel` compiled by AMD's backend for torch, in fp32 or with bf16 weights."""
    import torch
    import zentorch as backend  # noqa: F401  # registers itself

    return transformers(kind, work, lambda model: torch.compile(model, backend="zentorch", dynamic=True))


def onnx_file(work: Work) -> Path:
    """Export the encoder with dynamic batch and length, and return the file."""
    path = work.folder / "model.onnx"
    if path.exists():
        return path
    import torch
    from transformers import AutoModel

    folder = str(inputs.model_folder(work.folder, work.options))
    encoder: Any = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    class Hidden(torch.nn.Module):
        """The encoder with positional inputs, and with hidden vectors as its only output."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, ids: Any, mask: Any, segments: Any) -> Any:
            """Return (B, S, H)."""
            return self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=segments).last_hidden_state

    example = torch.ones(2, 16, dtype=torch.int64)
    free = {name: {0: "batch", 1: "length"} for name in (*_NAMES, "hidden")}
    unfinished = path.with_suffix(".part")
    torch.onnx.export(
        Hidden(),
        (example, example, torch.zeros_like(example)),
        str(unfinished),
        input_names=list(_NAMES),
        output_names=["hidden"],
        dynamic_axes=free,
        opset_version=17,
        dynamo=False,
    )
    return unfinished.rename(path)


def _inputs(ids: Any, mask: Any) -> dict[str, Any]:
    return dict(zip(_NAMES, (ids, mask, np.zeros_like(ids)), strict=True))


def onnx_runtime(kind: str, work: Work) -> Run:
    """Run ONNX Runtime with a graph fused for BERT: fp32, or int8 with dynamic activations and per-channel weights."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer

    fused, file = work.folder / "fused.onnx", work.folder / f"onnxruntime-{kind}.onnx"
    if not fused.exists():
        # 0 and 0: the optimizer reads heads and width from the graph
        optimizer.optimize_model(
            str(onnx_file(work)), model_type="bert", num_heads=0, hidden_size=0
        ).save_model_to_file(str(fused))
    if kind == "int8" and not file.exists():
        # Shape inference doesn't know the fused operators; it takes tensors of unknown type as fp32 (1).
        more = {"DefaultTensorType": 1}
        quantize_dynamic(fused, file, weight_type=QuantType.QInt8, per_channel=True, extra_options=more)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = work.options.threads
    source = str(file if kind == "int8" else fused)
    session = onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])
    names = {part.name for part in session.get_inputs()}

    def run(ids: Any, mask: Any) -> NDArray[np.float32]:
        given = {name: value for name, value in _inputs(ids, mask).items() if name in names}
        return mean(session.run(None, given)[0], mask)

    return run


def openvino(kind: str, work: Work) -> Run:
    """Run OpenVINO: fp32, bf16, or int8 calibrated by NNCF on other sentences."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(onnx_file(work))
    if kind == "int8":
        file = work.folder / "openvino-int8.xml"
        if not file.exists():
            ov.save_model(_calibrated(model, work), file, compress_to_fp16=False)
        model = core.read_model(file)
    settings = {
        "INFERENCE_NUM_THREADS": work.options.threads,
        "INFERENCE_PRECISION_HINT": "bf16" if kind == "bf16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(model, "CPU", settings)
    names = {part.any_name for part in compiled.inputs}
    request = compiled.create_infer_request()

    def run(ids: Any, mask: Any) -> NDArray[np.float32]:
        given = {name: value for name, value in _inputs(ids, mask).items() if name in names}
        return mean(np.asarray(request.infer(given)[0]), mask)

    return run


def _calibrated(model: Any, work: Work) -> Any:
    import nncf

    tokenizer = inputs.rust_tokenizer(inputs.model_folder(work.folder, work.options))
    tokenizer.enable_truncation(128)
    texts = inputs.generated(_CALIBRATION, seed=99)
    if work.options.text:
        wanted = min(_CALIBRATION, 8) if work.options.smoke else _CALIBRATION
        texts = inputs.sentences(work.options.sentences + wanted, work.options.text)[-wanted:]
    rows = [np.asarray([encoding.ids], np.int64) for encoding in tokenizer.encode_batch(texts)]
    data = nncf.Dataset([_inputs(row, np.ones_like(row)) for row in rows])
    kind = nncf.ModelType.TRANSFORMER
    return nncf.quantize(model, data, model_type=kind, subset_size=len(rows))


def ctranslate2(kind: str, work: Work) -> Run:
    """Run CTranslate2 in fp32 or int8; it gets rows without padding and pads them itself."""
    import ctranslate2 as engine
    from ctranslate2.converters import TransformersConverter

    converted = work.folder / "ctranslate2"
    if not converted.exists():
        source = shutil.copytree(inputs.model_folder(work.folder, work.options), work.folder / "for-ctranslate2")
        file = source / "config.json"
        # The converter reads a key that new folders no longer have.
        values = {"position_embedding_type": "absolute", **json.loads(file.read_text(encoding="utf-8"))}
        file.write_text(json.dumps(values), encoding="utf-8")
        TransformersConverter(str(source)).convert(str(converted))
    encoder = engine.Encoder(
        str(converted),
        device="cpu",
        compute_type="float32" if kind == "exact" else "int8",
        intra_threads=work.options.threads,
        inter_threads=1,
    )

    def run(ids: Any, mask: Any) -> NDArray[np.float32]:
        rows = [row[: int(length)].tolist() for row, length in zip(ids, mask.sum(1), strict=True)]
        return mean(np.asarray(encoder.forward_batch(rows).last_hidden_state), mask)

    return run

"""Check the keys of a config.json: refuse those that describe another network, and list the unknown ones.

A helper of the formats.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from bertie.errors import DataError
from bertie.models.model import Architecture

# Keys that change no output of bertie's encoders and heads: records of programs, training settings, the form of
# outputs, and generation settings, which generation_config.json holds today.
_HARMLESS_TEXT = """
_name_or_path name_or_path _commit_hash _attn_implementation _attn_implementation_internal
_experts_implementation _num_labels adapters architectures attn_implementation attribute_map base_model_prefix
bertie chunk_size_feed_forward commit_hash custom_pipelines dtype experts_implementation finetuning_task fp16
gradient_checkpointing id2label is_encoder_decoder keys_to_ignore_at_inference label2id loss_type model_name
model_type name num_labels output_attentions output_hidden_states output_past output_scores problem_type
return_dict return_dict_in_generate task_specific_params tf_legacy_loss tie_encoder_decoder tie_word_embeddings
tokenizer_class torch_dtype torchscript transformers_version transformers.js_config use_bfloat16 use_cache
use_return_dict sentence_transformers sbert_ce_default_activation_function __version__ language languages
license task tasks tags base_model bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id
mask_token_id unk_token_id decoder_start_token_id bad_words_ids begin_suppress_tokens diversity_penalty
do_sample early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty forced_bos_token_id
forced_eos_token_id length_penalty max_length max_new_tokens min_length min_new_tokens no_repeat_ngram_size
num_beam_groups num_beams num_return_sequences remove_invalid_values repetition_penalty suppress_tokens
temperature top_k top_p typical_p directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers
pooler_size_per_head pooler_type attention_probs_dropout_prob classifier_dropout classifier_dropout_prob
hidden_dropout_prob dropout attention_dropout qa_dropout seq_classif_dropout initializer_range
initializer_cutoff_factor sinusoidal_pos_embds tie_weights_ n_special total_sequence_length summary_last_dropout
down_scale_factor gap_size net_structure_type num_memory_blocks layers_to_keep deterministic_flash_attn
reference_compile repad_logits_with_grad sparse_prediction sparse_pred_ignore_index max_position_embeddings
type_vocab_size vocab_size is_decoder add_cross_attention ln_type xla_device position_embedding_type
summary_activation summary_type summary_use_proj inner_group_num embedding_size norm_bias attention_bias
mlp_bias classifier_bias decoder_bias classifier_activation rope_parameters layer_types global_rope_theta
local_rope_theta rope_theta global_attn_every_n_layers hidden_activation hidden_act
"""
_HARMLESS = frozenset(_HARMLESS_TEXT.split())
_QUANTIZED = "its weights are quantized ({method}); use the model before quantization, or its fp16 weights"
_CODE = "the model needs the code in its folder ({code}), and bertie never runs a folder's code"


def refuse_others(values: Mapping[str, Any], folder: Path) -> None:
    """Refuse a config that describes another network than that of its model_type.

    Raises:
        DataError: it asks for quantized weights, its own code, scaled rotary positions or pruned attention heads.
    """
    where = f"{folder}/config.json"
    if quantized := values.get("quantization_config") or values.get("compression_config"):
        method = quantized.get("quant_method") if isinstance(quantized, dict) else None
        raise DataError(f"{where}: {_QUANTIZED.format(method=str(method or 'quantization_config')[:40])}")
    brought = values.get("auto_map")
    code = {name: path for name, path in brought.items() if name.startswith("AutoModel")} if _is_table(brought) else {}
    if code:
        raise DataError(f"{where}: {_CODE.format(code=str(next(iter(code.values())))[:80])}")
    if values.get("rope_scaling"):
        raise DataError(f"{where}: rope_scaling is {values['rope_scaling']!r:.100}; bertie doesn't scale positions")
    if values.get("pruned_heads"):
        raise DataError(f"{where}: attention heads are pruned; bertie needs all of them")


def _is_table(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def unknown_keys(values: Mapping[str, Any], module: Architecture, folder: Path) -> list[str]:
    """Return a note that names the keys of a config.json that bertie doesn't know; empty without any.

    Args:
        values: config.json.
        module: the folder's architecture, a file of models/.
        folder: for messages.
    """
    foreign = getattr(module.config, "FOREIGN", None)
    read = {*(foreign or {}).values(), *module.checked, *_HARMLESS}
    unknown = sorted(name for name, value in values.items() if value and name not in read)
    if foreign is None or not unknown:
        return []
    more = ", ..." if unknown[8:] else ""
    return [f"{folder}/config.json: bertie ignores these keys: {', '.join(unknown[:8])}{more}"]

"""The Transformer and BERT in plain numpy arrays, one sequence at a time, formula by formula.

This code is written for readers, and it is the reference for the fast code: the tests run it with the random weights of
bertie's models and compare the outputs. It has no batches, no padding, no dropout and no gradients. docs/explanation
explains it step by step.

Weights are a dictionary of arrays with bertie's parameter names, such as "blocks.0.attention.qkv.weight". `below`
returns the part under a prefix. A linear layer's weight has one row per output: y = x W^T + b.

Shapes: T tokens, S tokens of the source, N heads, D head size (H = N x D), H hidden, I intermediate, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Weights = Mapping[str, Array]


# Small parts ---------------------------------------------------------------------------------------------------------


def softmax(scores: Array) -> Array:
    """Compute exp(x_i) / sum_j exp(x_j) along the last axis; subtracting the maximum only prevents overflow."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares


def gelu(x: Array) -> Array:
    """Multiply x by the probability that a standard normal variable is below x: x (1 + erf(x / sqrt 2)) / 2."""
    erf = np.array([math.erf(value) for value in (x / math.sqrt(2.0)).ravel()]).reshape(x.shape)
    return x * (1.0 + erf) / 2.0


def gelu_tanh(x: Array) -> Array:
    """Approximate GELU by tanh, as the original BERT code does."""
    return x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))) / 2.0


def relu(x: Array) -> Array:
    """Compute max(0, x), as in the original Transformer."""
    return np.maximum(x, 0.0)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"gelu": gelu, "gelu_tanh": gelu_tanh, "relu": relu}


@dataclass(frozen=True)
class Shape:
    """The settings that the weights don't show."""

    num_heads: int
    """N."""
    activation: str = "gelu"
    """Activation of the feed-forward layers."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in every LayerNorm."""


def below(weights: Weights, prefix: str) -> Weights:
    """Return the weights whose names begin with `prefix`, with the prefix removed from their names."""
    return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}


def linear(weights: Weights, name: str, x: Array) -> Array:
    """Map x to x W^T + b."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(weights: Weights, name: str, x: Array, eps: float) -> Array:
    """Normalize every vector to mean 0 and variance 1, then scale and shift it."""
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    normal: Array = centred / np.sqrt(variance + eps)
    return normal * weights[f"{name}.weight"] + weights[f"{name}.bias"]


# Attention -----------------------------------------------------------------------------------------------------------


def attention_weights(query: Array, key: Array, visible: NDArray[np.bool_] | None = None) -> Array:
    """Compute softmax(Q K^T / sqrt(D)): the weight of each key for each query; rows add up to 1.

    Args:
        query: (..., T, D).
        key: (..., S, D).
        visible: (T, S), False where a query must not see a key.

    Returns:
        (..., T, S).
    """
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    if visible is not None:
        scores = np.where(visible, scores, -np.inf)
    return softmax(scores)


def attention(query: Array, key: Array, value: Array, visible: NDArray[np.bool_] | None = None) -> Array:
    """Compute softmax(Q K^T / sqrt(D)) V: for each query, a weighted mean of the values. (..., T, D)."""
    return attention_weights(query, key, visible) @ value


def split_heads(x: Array, num_heads: int) -> Array:
    """Split every vector into N parts: (T, H) to (N, T, D)."""
    return x.reshape(len(x), num_heads, -1).swapaxes(0, 1)


def join_heads(x: Array) -> Array:
    """Join the parts of every vector again: (N, T, D) to (T, H)."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


def self_attention(weights: Weights, shape: Shape, hidden: Array, visible: NDArray[np.bool_] | None = None) -> Array:
    """Map (T, H) to Concat(head_1, ..., head_N) W^O with head_n = attention(x W^Q_n, x W^K_n, x W^V_n).

    The three projections of all heads are one matrix, "qkv", of 3H rows.
    """
    query, key, value = (
        split_heads(part, shape.num_heads) for part in np.split(linear(weights, "qkv", hidden), 3, axis=-1)
    )
    return linear(weights, "output", join_heads(attention(query, key, value, visible)))


def cross_attention(weights: Weights, shape: Shape, hidden: Array, memory: Array) -> Array:
    """Attend from the target's vectors, (T, H), as queries, to the source's vectors, (S, H), as keys and values."""
    query = split_heads(linear(weights, "query", hidden), shape.num_heads)
    key, value = (split_heads(part, shape.num_heads) for part in np.split(linear(weights, "kv", memory), 2, axis=-1))
    return linear(weights, "output", join_heads(attention(query, key, value)))


def causal_mask(num_tokens: int) -> NDArray[np.bool_]:
    """Return a mask that is True on and below the diagonal: token t sees tokens 0 to t, not the future. (T, T)."""
    return np.tril(np.ones((num_tokens, num_tokens), dtype=bool))


# Blocks --------------------------------------------------------------------------------------------------------------


def feed_forward(weights: Weights, shape: Shape, hidden: Array) -> Array:
    """Compute activation(x W_1 + b_1) W_2 + b_2 for each token separately: (T, H) to (T, I) to (T, H)."""
    return linear(weights, "down", ACTIVATIONS[shape.activation](linear(weights, "up", hidden)))


def encoder_block(weights: Weights, shape: Shape, hidden: Array) -> Array:
    """Apply two sublayers, each as LayerNorm(x + sublayer(x)): post-norm, as in the original and in BERT."""
    attended = self_attention(below(weights, "attention."), shape, hidden)
    hidden = layer_norm(weights, "attention_norm", hidden + attended, shape.layer_norm_eps)
    transformed = feed_forward(below(weights, "feedforward."), shape, hidden)
    return layer_norm(weights, "feedforward_norm", hidden + transformed, shape.layer_norm_eps)


def decoder_block(weights: Weights, shape: Shape, hidden: Array, memory: Array) -> Array:
    """Apply three sublayers: attention to the past, attention to the source, feed-forward."""
    attended = self_attention(below(weights, "attention."), shape, hidden, causal_mask(len(hidden)))
    hidden = layer_norm(weights, "attention_norm", hidden + attended, shape.layer_norm_eps)
    from_source = cross_attention(below(weights, "cross_attention."), shape, hidden, memory)
    hidden = layer_norm(weights, "cross_norm", hidden + from_source, shape.layer_norm_eps)
    transformed = feed_forward(below(weights, "feedforward."), shape, hidden)
    return layer_norm(weights, "feedforward_norm", hidden + transformed, shape.layer_norm_eps)


def blocks(weights: Weights) -> Iterator[Weights]:
    """Yield the weights of each block, from the lowest up."""
    number = 0
    while block := below(weights, f"blocks.{number}."):
        yield block
        number += 1


# BERT ----------------------------------------------------------------------------------------------------------------


def bert_embeddings(weights: Weights, shape: Shape, tokens: Ids, segments: Ids) -> Array:
    """Compute LayerNorm(word + position + segment): for each token, one row of three learned tables. (T, H)."""
    words = weights["word.weight"][tokens]
    positions = weights["position.weight"][np.arange(len(tokens))]
    summed = words + positions + weights["segment.weight"][segments]
    return layer_norm(weights, "norm", summed, shape.layer_norm_eps)


def bert_encoder(weights: Weights, shape: Shape, tokens: Ids, segments: Ids) -> Array:
    """Return one hidden vector per token, (T, H), which depends on the tokens on both sides."""
    hidden = bert_embeddings(below(weights, "embeddings."), shape, tokens, segments)
    for block in blocks(weights):
        hidden = encoder_block(block, shape, hidden)
    return hidden


def bert_decoder(weights: Weights, shape: Shape, tokens: Ids, memory: Array) -> Array:
    """Return logits for the token after each target token, (T, V), by a decoder made of BERT's parts."""
    hidden = bert_embeddings(below(weights, "embeddings."), shape, tokens, np.zeros_like(tokens))
    for block in blocks(weights):
        hidden = decoder_block(block, shape, hidden, memory)
    return token_logits(below(weights, "token_logits."), shape, hidden)


def token_logits(weights: Weights, shape: Shape, hidden: Array) -> Array:
    """Predict tokens at M positions, (M, H) to (M, V): dense, activation, LayerNorm, product with the word table."""
    transformed = ACTIVATIONS[shape.activation](linear(weights, "dense", hidden))
    transformed = layer_norm(weights, "norm", transformed, shape.layer_norm_eps)
    return transformed @ weights["embedding"].T + weights["bias"]


def pooler(weights: Weights, hidden: Array) -> Array:
    """Compute tanh(W h + b) for the first token, [CLS]: one vector for the whole sequence, (H,)."""
    return np.tanh(linear(weights, "dense", hidden[0]))


def next_sentence(weights: Weights, hidden: Array) -> Array:
    """Return two logits from the pooled vector: B follows A, B is random. (2,)."""
    return linear(weights, "next_sentence", pooler(below(weights, "pooler."), hidden))


def cross_entropy(logits: Array, targets: Ids) -> float:
    """Return the mean of -log p(target): the loss of both objectives, and of every classifier."""
    chosen = softmax(logits)[np.arange(len(targets)), targets]
    return float(-np.log(chosen).mean())


# The original Transformer --------------------------------------------------------------------------------------------


def sinusoids(num_positions: int, hidden_size: int) -> Array:
    """Compute PE(p, 2i) = sin(p / 10000^(2i/H)) and PE(p, 2i+1) = cos(p / 10000^(2i/H)). (P, H)."""
    position = np.arange(num_positions)[:, None]
    frequency = 10000.0 ** (-np.arange(0, hidden_size, 2) / hidden_size)
    table = np.empty((num_positions, hidden_size))
    table[:, 0::2] = np.sin(position * frequency)
    table[:, 1::2] = np.cos(position * frequency[: hidden_size // 2])
    return table


def scaled_embeddings(word: Array, tokens: Ids) -> Array:
    """Add the sinusoids to word vectors times sqrt(H). (T, H)."""
    size = word.shape[1]
    return word[tokens] * math.sqrt(size) + sinusoids(len(tokens), size)


def transformer_encoder(weights: Weights, shape: Shape, tokens: Ids) -> Array:
    """Encode the source: (S, H)."""
    hidden = scaled_embeddings(weights["embeddings.word.weight"], tokens)
    for block in blocks(weights):
        hidden = encoder_block(block, shape, hidden)
    return hidden


def transformer_decoder(weights: Weights, shape: Shape, tokens: Ids, memory: Array) -> Array:
    """Return logits for the token after each target token, (T, V); source, target and output share one word table."""
    word = weights["embeddings.word.weight"]
    hidden = scaled_embeddings(word, tokens)
    for block in blocks(weights):
        hidden = decoder_block(block, shape, hidden, memory)
    return hidden @ word.T


def write(decode: Callable[[Ids], Array], start: int, end: int, most: int) -> list[int]:
    """Generate a text greedily: append the most probable next token, and repeat.

    Args:
        decode: maps the tokens so far, (T,), to logits (T, V).
        start: the first token that the decoder reads.
        end: the token that ends a text.
        most: maximum number of new tokens.

    Returns:
        The new tokens, without `start` and `end`.
    """
    tokens = [start]
    while len(tokens) <= most:
        following = int(decode(np.array(tokens))[-1].argmax())
        if following == end:
            break
        tokens.append(following)
    return tokens[1:]

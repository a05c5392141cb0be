"""The Transformer and BERT in plain arrays: numpy alone, one sequence at a time, formula by formula.

It is written to be read, and it is what the fast code is held to: the test suite gives these functions the random
weights of bertie's own models and asks for the same numbers. There is no batch, no padding, no dropout and no gradient.
docs/explanation walks through it.

Weights are a dictionary of arrays with bertie's parameter names, such as "blocks.0.attention.qkv.weight"; `below` takes
the part of it under a prefix. A linear layer's weight has one row an output: y = x W^T + b.

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
    """Work out exp(x_i) / sum_j exp(x_j) along the last axis; subtracting the largest only keeps exp in range."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares


def gelu(x: Array) -> Array:
    """Multiply x with the probability that a normal draw lies below it: x (1 + erf(x / sqrt 2)) / 2."""
    erf = np.array([math.erf(value) for value in (x / math.sqrt(2.0)).ravel()]).reshape(x.shape)
    return x * (1.0 + erf) / 2.0


def gelu_tanh(x: Array) -> Array:
    """Approximate it, as the original BERT code does."""
    return x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))) / 2.0


def relu(x: Array) -> Array:
    """Take max(0, x), as the original Transformer does."""
    return np.maximum(x, 0.0)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"gelu": gelu, "gelu_tanh": gelu_tanh, "relu": relu}


@dataclass(frozen=True)
class Shape:
    """What the weights don't tell."""

    num_heads: int
    """N."""
    activation: str = "gelu"
    """In the feed-forward layers."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in every LayerNorm."""


def below(weights: Weights, prefix: str) -> Weights:
    """Return the weights whose names begin with `prefix`, under what follows it."""
    return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}


def linear(weights: Weights, name: str, x: Array) -> Array:
    """Map x to x W^T + b."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(weights: Weights, name: str, x: Array, eps: float) -> Array:
    """Bring every vector to mean 0 and variance 1, then scale and shift it."""
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    normal: Array = centred / np.sqrt(variance + eps)
    return normal * weights[f"{name}.weight"] + weights[f"{name}.bias"]


# Attention -----------------------------------------------------------------------------------------------------------


def attention_weights(query: Array, key: Array, visible: NDArray[np.bool_] | None = None) -> Array:
    """Work out softmax(Q K^T / sqrt(D)): how much each query takes from each key; rows add up to 1.

    Args:
        query: (..., T, D).
        key: (..., S, D).
        visible: (T, S), False where a query must not look.

    Returns:
        (..., T, S).
    """
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    if visible is not None:
        scores = np.where(visible, scores, -np.inf)
    return softmax(scores)


def attention(query: Array, key: Array, value: Array, visible: NDArray[np.bool_] | None = None) -> Array:
    """Work out softmax(Q K^T / sqrt(D)) V: a mean of the values, weighted anew for each query. (..., T, D)."""
    return attention_weights(query, key, visible) @ value


def split_heads(x: Array, num_heads: int) -> Array:
    """Cut every vector into N parts: (T, H) to (N, T, D)."""
    return x.reshape(len(x), num_heads, -1).swapaxes(0, 1)


def join_heads(x: Array) -> Array:
    """Put the parts side by side again: (N, T, D) to (T, H)."""
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
    """Do the same, but take keys and values from the source's vectors, (S, H); only the queries are the target's."""
    query = split_heads(linear(weights, "query", hidden), shape.num_heads)
    key, value = (split_heads(part, shape.num_heads) for part in np.split(linear(weights, "kv", memory), 2, axis=-1))
    return linear(weights, "output", join_heads(attention(query, key, value)))


def causal_mask(num_tokens: int) -> NDArray[np.bool_]:
    """Say True on and below the diagonal: token t sees tokens 0 to t, and not the future. (T, T)."""
    return np.tril(np.ones((num_tokens, num_tokens), dtype=bool))


# Blocks --------------------------------------------------------------------------------------------------------------


def feed_forward(weights: Weights, shape: Shape, hidden: Array) -> Array:
    """Work out activation(x W_1 + b_1) W_2 + b_2, every token by itself: (T, H) to (T, I) to (T, H)."""
    return linear(weights, "down", ACTIVATIONS[shape.activation](linear(weights, "up", hidden)))


def encoder_block(weights: Weights, shape: Shape, hidden: Array) -> Array:
    """Go through two sublayers, each LayerNorm(x + sublayer(x)): post-norm, as in the original and in BERT."""
    seen = self_attention(below(weights, "attention."), shape, hidden)
    hidden = layer_norm(weights, "attention_norm", hidden + seen, shape.layer_norm_eps)
    widened = feed_forward(below(weights, "feedforward."), shape, hidden)
    return layer_norm(weights, "feedforward_norm", hidden + widened, shape.layer_norm_eps)


def decoder_block(weights: Weights, shape: Shape, hidden: Array, memory: Array) -> Array:
    """Go through three sublayers: attention to the past, attention to the source, feed-forward."""
    seen = self_attention(below(weights, "attention."), shape, hidden, causal_mask(len(hidden)))
    hidden = layer_norm(weights, "attention_norm", hidden + seen, shape.layer_norm_eps)
    looked = cross_attention(below(weights, "cross_attention."), shape, hidden, memory)
    hidden = layer_norm(weights, "cross_norm", hidden + looked, shape.layer_norm_eps)
    widened = feed_forward(below(weights, "feedforward."), shape, hidden)
    return layer_norm(weights, "feedforward_norm", hidden + widened, shape.layer_norm_eps)


def blocks(weights: Weights) -> Iterator[Weights]:
    """Yield the weights of each block, from the lowest up."""
    number = 0
    while block := below(weights, f"blocks.{number}."):
        yield block
        number += 1


# BERT ----------------------------------------------------------------------------------------------------------------


def bert_embeddings(weights: Weights, shape: Shape, tokens: Ids, segments: Ids) -> Array:
    """Work out LayerNorm(word + position + segment): one row of three learned tables for every token. (T, H)."""
    words, places, halves = weights["word.weight"], weights["position.weight"], weights["segment.weight"]
    summed = words[tokens] + places[np.arange(len(tokens))] + halves[segments]
    return layer_norm(weights, "norm", summed, shape.layer_norm_eps)


def bert_encoder(weights: Weights, shape: Shape, tokens: Ids, segments: Ids) -> Array:
    """Embed, then go through the blocks: one vector a token, (T, H), which has seen both sides of it."""
    hidden = bert_embeddings(below(weights, "embeddings."), shape, tokens, segments)
    for block in blocks(weights):
        hidden = encoder_block(block, shape, hidden)
    return hidden


def bert_decoder(weights: Weights, shape: Shape, tokens: Ids, memory: Array) -> Array:
    """Say after each target token what comes next, by a decoder made of BERT's parts: (T, V) logits."""
    hidden = bert_embeddings(below(weights, "embeddings."), shape, tokens, np.zeros_like(tokens))
    for block in blocks(weights):
        hidden = decoder_block(block, shape, hidden, memory)
    return token_logits(below(weights, "token_logits."), shape, hidden)


def token_logits(weights: Weights, shape: Shape, hidden: Array) -> Array:
    """Guess the pieces at M places, (M, H) to (M, V): dense, activation, LayerNorm, the word table as output matrix."""
    transformed = ACTIVATIONS[shape.activation](linear(weights, "dense", hidden))
    transformed = layer_norm(weights, "norm", transformed, shape.layer_norm_eps)
    return transformed @ weights["embedding"].T + weights["bias"]


def pooler(weights: Weights, hidden: Array) -> Array:
    """Work out tanh(W h + b) of the first token, [CLS]: one vector for the whole sequence, (H,)."""
    return np.tanh(linear(weights, "dense", hidden[0]))


def next_sentence(weights: Weights, hidden: Array) -> Array:
    """Give two logits of the pooled vector: B follows A, B is random. (2,)."""
    return linear(weights, "next_sentence", pooler(below(weights, "pooler."), hidden))


def cross_entropy(logits: Array, targets: Ids) -> float:
    """Average -log p(target): the loss of both objectives, and of every classifier."""
    chosen = softmax(logits)[np.arange(len(targets)), targets]
    return float(-np.log(chosen).mean())


# The original Transformer --------------------------------------------------------------------------------------------


def sinusoids(num_positions: int, hidden_size: int) -> Array:
    """Work out PE(p, 2i) = sin(p / 10000^(2i/H)) and PE(p, 2i+1) = cos of the same. (P, H)."""
    place = np.arange(num_positions)[:, None]
    frequency = 10000.0 ** (-np.arange(0, hidden_size, 2) / hidden_size)
    table = np.empty((num_positions, hidden_size))
    table[:, 0::2] = np.sin(place * frequency)
    table[:, 1::2] = np.cos(place * frequency[: hidden_size // 2])
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
    """Say after each target token what comes next, (T, V); source, target and output share one word table."""
    word = weights["embeddings.word.weight"]
    hidden = scaled_embeddings(word, tokens)
    for block in blocks(weights):
        hidden = decoder_block(block, shape, hidden, memory)
    return hidden @ word.T


def write(decode: Callable[[Ids], Array], start: int, end: int, most: int) -> list[int]:
    """Write greedily: ask what comes next, take the likeliest, append it, ask again.

    Args:
        decode: from the tokens so far, (T,), to logits (T, V).
        start: what the decoder reads first.
        end: what it writes last.
        most: tokens to write.

    Returns:
        What was written, without `start` and `end`.
    """
    tokens = [start]
    while len(tokens) <= most:
        following = int(decode(np.array(tokens))[-1].argmax())
        if following == end:
            break
        tokens.append(following)
    return tokens[1:]

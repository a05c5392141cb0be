"""BERT in numpy, from text to a classifier, with every gradient by hand. docs/explanation/microbert.md explains it.

python examples/microbert.py                 # learns from the text that Python itself carries; writes nothing
python examples/microbert.py --start paper   # the same from the paper's first weights: it stays on the plateau
"""

import argparse
import re
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

Array = np.ndarray
Backward = Callable[[Array], Array]  # takes dLoss/dOutput, adds to the weights' gradients, returns dLoss/dInput
UNK, CLS, SEP, MASK, FIRST = range(5)  # FIRST is the number of the commonest word
V, S, H, N, D, LAYERS, BATCH, MASKS = 2000, 32, 64, 4, 16, 2, 32, 5  # V words, S tokens in every input, H = N heads x D


def read_text(file: str | None) -> tuple[Array, Array, Array]:
    """Read a file, or Python's manual and its library's comments; return text, held-out text and the vocabulary."""
    paths = Path(sysconfig.get_path("stdlib")).rglob("*.py")
    paths = sorted(path for path in paths if not re.search(r"\Wtests?\W|_test\W|-packages|encodings", str(path)))
    texts = [*topics.values(), *("\n".join(re.findall(r'"""[^"]+"""|# .*', path.read_text("utf-8"))) for path in paths)]
    texts = re.findall("(?s).{1,5000}", Path(file).read_text("utf-8")) if file else texts  # every tenth is held out
    documents = [re.findall(r"[^\W\d_]+|[.,:()]", text.lower()) for text in texts]
    common = Counter(word for words in documents for word in words).most_common(V - FIRST)
    vocabulary = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", *(word for word, _ in common), *["[unused]"] * V][:V]
    number = {word: place for place, word in enumerate(vocabulary)}
    parts = [words for n, words in enumerate(documents) if n % 10], documents[::10]
    text, held_out = (np.array([number.get(word, UNK) for words in part for word in words]) for part in parts)
    return text, held_out, np.array(vocabulary)


def draw_pairs(text: Array, rng: np.random.Generator, all_masked: bool = False) -> tuple[Array, ...]:
    """Draw inputs [CLS] A [SEP] B [SEP], in half of which B follows A, and hide MASKS words of each (paper, 3.1)."""
    begin, other = rng.integers(len(text) - S, size=(2, BATCH, 1))
    is_random, segments = rng.integers(0, 2, BATCH), np.tile(np.arange(S) > S // 2, (BATCH, 1)).astype(int)
    tokens = text[np.where(segments & is_random[:, None], other, begin) + np.arange(S)]
    tokens[:, [0, S // 2, -1]] = CLS, SEP, SEP
    rows, places = np.arange(BATCH)[:, None], np.argsort(rng.random(tokens.shape) + (tokens < FIRST))[:, :MASKS]
    targets, fate, others = tokens[rows, places], rng.random(places.shape), rng.integers(FIRST, V, places.shape)
    tokens[rows, places] = np.select([(fate < 0.8) | all_masked, fate < 0.9], [MASK, others], targets)  # 80, 10, 10 %
    return tokens, segments, is_random, (rows * S + places).ravel(), targets.ravel()


def softmax(x: Array) -> Array:
    """Compute exp(x_i) / sum_j exp(x_j)."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def gelu(x: Array) -> tuple[Array, Backward]:
    """Compute x (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3); the slope is by product and chain rule."""
    tanh = np.tanh(0.7978845608 * (x + 0.044715 * x * x * x))
    slope = (1 + tanh) / 2 + x / 2 * (1 - tanh * tanh) * 0.7978845608 * (1 + 3 * 0.044715 * x * x)
    return x * (1 + tanh) / 2, lambda dy: dy * slope


def cross_entropy(logits: Array, targets: Array) -> tuple[float, Array]:
    """Return the mean of -log p(target), and its gradient: (p - 1 at the target, p elsewhere) / count."""
    p, rows = softmax(logits), np.arange(len(targets))
    loss = -np.log(p[rows, targets]).mean()
    p[rows, targets] -= 1
    return float(loss), p / len(targets)


class Bert:
    """The weights `w`, under bertie's names, and after `learn` their gradients `g`."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.w = weights

    def linear(self, name: str, x: Array) -> tuple[Array, Backward]:
        """Compute y = x W^T + b. So dW = dy^T x, db is the sum of dy over all rows, and dx = dy W."""

        def backward(dy: Array) -> Array:
            self.g[f"{name}.weight"] += dy.T @ x
            self.g[f"{name}.bias"] += dy.sum(0)
            return dy @ self.w[f"{name}.weight"]

        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"], backward

    def layer_norm(self, name: str, x: Array) -> tuple[Array, Backward]:
        """Compute y = weight n + bias with n = (x - mean) / deviation."""
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-12)
        n = centred / deviation

        def backward(dy: Array) -> Array:
            self.g[f"{name}.weight"] += (dy * n).sum(0)
            self.g[f"{name}.bias"] += dy.sum(0)
            dn = dy * self.w[f"{name}.weight"]  # n keeps its mean and its length: take out what would change them
            return (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True)) / deviation

        return n * self.w[f"{name}.weight"] + self.w[f"{name}.bias"], backward

    def attention(self, name: str, x: Array) -> tuple[Array, Backward]:
        """Compute Concat(head_1, ..., head_N) W^O with head = A V and A = softmax(Q K^T / sqrt D)."""
        qkv, back_qkv = self.linear(f"{name}.qkv", x)
        q, k, v = qkv.reshape(-1, S, 3, N, D).transpose(2, 0, 3, 1, 4)  # (BATCH, N, S, D) each
        a = softmax(q @ k.swapaxes(-1, -2) / D**0.5)  # (BATCH, N, S, S), rows add up to 1
        y, back_output = self.linear(f"{name}.output", (a @ v).transpose(0, 2, 1, 3).reshape(-1, H))

        def backward(dy: Array) -> Array:
            d_heads = back_output(dy).reshape(-1, S, N, D).transpose(0, 2, 1, 3)
            da, dv = d_heads @ v.swapaxes(-1, -2), a.swapaxes(-1, -2) @ d_heads
            d_scores = a * (da - (a * da).sum(-1, keepdims=True)) / D**0.5  # one share rises, the others fall
            dq, dk = d_scores @ k, d_scores.swapaxes(-1, -2) @ q
            return back_qkv(np.stack([dq, dk, dv]).transpose(1, 3, 0, 2, 4).reshape(-1, 3 * H))

        return y, backward

    def feed_forward(self, name: str, x: Array) -> tuple[Array, Backward]:
        """Compute W_2 GELU(W_1 x + b_1) + b_2; the gradient goes back through the three in reverse."""
        up, back_up = self.linear(f"{name}.up", x)
        active, back_gelu = gelu(up)
        y, back_down = self.linear(f"{name}.down", active)
        return y, lambda dy: back_up(back_gelu(back_down(dy)))

    def add_and_norm(self, name: str, x: Array, sublayer: tuple[Array, Backward]) -> tuple[Array, Backward]:
        """Compute LayerNorm(x + sublayer(x)); the gradient takes both ways, and they add up."""
        y, back_norm = self.layer_norm(name, x + sublayer[0])
        return y, lambda dy: (dx := back_norm(dy)) + sublayer[1](dx)

    def learn(self, head: str, tokens: Array, segments: Array, labels: Array, *masks: Array) -> tuple[float, float]:
        """Return the losses of the labels and of the masked words, and put the gradient of their sum into `g`."""
        self.g = {name: np.zeros_like(value) for name, value in self.w.items()}
        read = {"word": tokens, "position": np.broadcast_to(np.arange(S), tokens.shape), "segment": segments}
        summed = sum(self.w[f"embeddings.{table}.weight"][rows.ravel()] for table, rows in read.items())
        hidden, *backs = self.layer_norm("embeddings.norm", summed)
        for block in (f"blocks.{layer}" for layer in range(LAYERS)):
            for part, sublayer in (("attention", self.attention), ("feedforward", self.feed_forward)):
                hidden, back = self.add_and_norm(f"{block}.{part}_norm", hidden, sublayer(f"{block}.{part}", hidden))
                backs.append(back)
        d_hidden, masked_loss = np.zeros_like(hidden), 0.0
        dense, back_pooler = self.linear("pooler.dense", hidden[::S])  # of [CLS]
        pooled = np.tanh(dense)
        self.logits, back_logits = self.linear(head, pooled)
        label_loss, dy = cross_entropy(self.logits, labels)
        d_hidden[::S] = back_pooler(back_logits(dy) * (1 - pooled * pooled))  # the slope of tanh
        if masks:
            places, targets = masks
            dense, back_dense = self.linear("token_logits.dense", hidden[places])
            active, back_gelu = gelu(dense)
            t, back_norm = self.layer_norm("token_logits.norm", active)
            table = self.w["embeddings.word.weight"]
            self.guesses = t @ table.T + self.w["token_logits.bias"]  # compares t with every word
            masked_loss, dy = cross_entropy(self.guesses, targets)
            self.g["token_logits.bias"] += dy.sum(0)
            self.g["embeddings.word.weight"] += dy.T @ t  # the table is used at both ends: this is one part
            d_hidden[places] += back_dense(back_gelu(back_norm(dy @ table)))
        for back in reversed(backs):
            d_hidden = back(d_hidden)
        for name, rows in read.items():  # a row gets the gradients of all the places that read it
            np.add.at(self.g[f"embeddings.{name}.weight"], rows.ravel(), d_hidden)
        return label_loss, masked_loss

    def adam(self, steps: int, rate: float) -> Iterator[int]:
        """Yield each step, then move against the gradient; the rate rises for a tenth of the steps, then falls."""
        mean, square = ({name: np.zeros_like(value) for name, value in self.w.items()} for _ in range(2))
        for step in range(1, steps + 1):
            yield step
            now = rate * min(10 * step / steps, (steps - step) / steps / 0.9)
            for name, g in self.g.items():
                mean[name] += 0.1 * (g - mean[name])  # moving means begin at 0, so divide them by 1 - beta^step
                square[name] += 0.01 * (g * g - square[name])
                self.w[name] -= now * mean[name] / (1 - 0.9**step) / ((square[name] / (1 - 0.99**step)) ** 0.5 + 1e-8)


def first_weights(rng: np.random.Generator, frequency: Array | None = None) -> dict[str, Array]:
    """Draw the paper's first weights: deviation 0.02, biases 0, LayerNorms 1. With frequencies: look at neighbours."""
    shapes = {"embeddings.word": (V, H), "embeddings.position": (S, H), "embeddings.segment": (2, H)}
    shapes |= {"token_logits.dense": (H, H), "pooler.dense": (H, H), "next_sentence": (2, H), "classifier": (2, H)}
    for block in (f"blocks.{layer}" for layer in range(LAYERS)):
        shapes |= {f"{block}.attention.qkv": (3 * H, H), f"{block}.attention.output": (H, H)}
        shapes |= {f"{block}.feedforward.up": (4 * H, H), f"{block}.feedforward.down": (H, 4 * H)}
        shapes |= {f"{block}.attention_norm": (H,), f"{block}.feedforward_norm": (H,)}
    shapes |= {"embeddings.norm": (H,), "token_logits.norm": (H,)}
    w = {f"{name}.bias": np.zeros(shape[0]) for name, shape in list(shapes.items())[3:]}
    w |= {f"{name}.weight": rng.normal(0, 0.02, s) if len(s) > 1 else np.ones(s) for name, s in shapes.items()}
    w["token_logits.bias"] = np.zeros(V) if frequency is None else np.log(frequency)
    if frequency is not None:
        f = (np.arange(D // 2) + 0.5) * np.pi / (D // 2)  # the last D columns hold the position p: sin fp and cos fp
        angles = np.outer(np.arange(S), f)
        w["embeddings.position.weight"], w["embeddings.segment.weight"] = np.zeros((S, H)), np.zeros((2, H))
        w["embeddings.position.weight"][:, -D:] = 0.03 * np.concatenate([np.sin(angles), np.cos(angles)], 1)
        w["embeddings.word.weight"][:, -D:] *= 0.3
        for block in (f"blocks.{layer}.attention" for layer in range(LAYERS)):
            w[f"{block}.qkv.weight"][2 * H :] *= 50 / H**0.5  # values and outputs large enough to be heard
            w[f"{block}.output.weight"] *= 50 / H**0.5
            for head, o in enumerate((-1, 1, -2, 2)):  # sin f(p + o) = sin fp cos fo + cos fp sin fo
                cos, sin = np.diag(np.cos(f * o)), np.diag(np.sin(f * o))
                w[f"{block}.qkv.weight"][head * D :][:D, -D:] += 2 * np.block([[cos, sin], [-sin, cos]])  # queries
                w[f"{block}.qkv.weight"][H + head * D :][:D, -D:] += 2 * np.eye(D)  # keys
    return {name: value.astype(np.float32) for name, value in w.items()}


def fine_tune(w: dict[str, Array], text: Array, held_out: Array, seed: int) -> tuple[float, float]:
    """Train on 400 passages; return the accuracy on 600 held-out ones, and that of least squares on word counts."""
    bert, rng = Bert({name: value.copy() for name, value in w.items()}), np.random.default_rng(seed)
    begin = rng.integers(len(text) - S, size=400), rng.integers(len(held_out) - S, size=600) + len(text)
    tokens = np.concatenate([text, held_out])[np.concatenate(begin)[:, None] + np.arange(S)]
    labels = rng.integers(0, 2, 1000)
    tokens = np.where(labels[:, None] == 1, rng.permuted(tokens, axis=1), tokens)
    tokens[:, [0, -1]] = CLS, SEP
    for _ in bert.adam(150, 1e-3):
        some = rng.integers(0, 400, BATCH)
        bert.learn("classifier", tokens[some], 0 * tokens[some], labels[some])
    bert.learn("classifier", tokens[400:], 0 * tokens[400:], labels[400:])
    counts = np.stack([np.bincount(row, minlength=V) for row in tokens])
    bag = counts[:400].T @ np.linalg.solve(counts[:400] @ counts[:400].T + 10 * np.eye(400), 2 * labels[:400] - 1)
    return np.mean(bert.logits.argmax(1) == labels[400:]), np.mean((counts[400:] @ bag > 0) == labels[400:])


def main() -> None:
    """Pre-train, fill masks, and compare classifiers; print everything and write nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", help="your own text; 100,000 words or more")
    parser.add_argument("--start", choices=["neighbours", "paper"], default="neighbours", help="first weights")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    text, held_out, words = read_text(options.text)
    rng, frequency = np.random.default_rng(options.seed), (np.bincount(text, minlength=V) + 0.1) / len(text)
    tests = [draw_pairs(held_out, np.random.default_rng(n), all_masked=True) for n in range(8)]
    unigram = -np.log(frequency[np.concatenate([test[4] for test in tests])]).mean()
    print(f"{len(text):,} words to learn from. Loss at held-out masks by word frequencies alone: {unigram:.2f}")
    bert = Bert(first_weights(rng, frequency if options.start == "neighbours" else None))
    for step in bert.adam(options.steps, 3e-3):
        if step % 100 == 1 or step == options.steps:
            loss = np.mean([bert.learn("next_sentence", *test)[1] for test in tests])
            bar, where = "#" * int(10 * (loss - 3)), "on the plateau" if loss > unigram - 0.5 else "off the plateau"
            print(f"step {step:4}, {time.process_time():3.0f} s, loss {loss:.2f} {bar:50} {where}", flush=True)
        bert.learn("next_sentence", *draw_pairs(text, rng))
    bert.learn("next_sentence", *tests[0])
    for place, target, guess in [*zip(*tests[0][3:], bert.guesses.argmax(1), strict=True)][::16]:
        print(*words[tests[0][0].ravel()[max(0, place - 5) : place + 6]], "|", words[guess], f"({words[target]})")
    for name, w in (("pre-trained", bert.w), ("random", first_weights(rng)), ("begun", first_weights(rng, frequency))):
        scores = [fine_tune(w, text, held_out, seed) for seed in (1, 2, 3)]
        print(f"{name:12}", *(f"{100 * right:.1f} %" for right, _ in scores))
    print("bag of words", *(f"{100 * right:.1f} %" for _, right in scores))


if __name__ == "__main__":
    main()

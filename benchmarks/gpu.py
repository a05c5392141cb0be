"""How many tokens a second does MLM + NSP pre-training do on one GPU, beside transformers in bf16, sdpa and compiled?

BERT-base and BERT-mini at 128 and 512 tokens, without dropout; rows that are all full (packed, the peer's best case)
and rows of the recipe's lengths (padded, one in ten short). Model FLOP utilisation (MFU) counts what the mathematics
needs for real tokens, with the masked-LM head on the 15 % masked positions alone, against the card's bf16 peak: work
that a program does beyond that is no use of the card. No dropout: fast attention on a GPU has none.

Needs torch, transformers, numpy, tokenizers, safetensors and this repository alone; under eight minutes with what is
asked for when nothing is said (what isn't done by then is left out, and said to be). Without CUDA it says so and
exits with status 2.
Usage, in the repository: python -m benchmarks.gpu
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from benchmarks import rounds
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference
from benchmarks.pretrain import flops_per_token, ready_ours, ready_theirs

TOKENS = {"mini": 65_536, "base": 65_536}  # of a step; the peer's logits of all of them need some 30 GB
LENGTHS = (128, 512)
# Dense bf16 without sparsity, of the data sheets; a card that isn't here is measured.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
LOSS = largest_difference(1e-3)
SECONDS = 440.0


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.set_defaults(seconds=SECONDS)
    parser.add_argument("--sizes", nargs="+", default=list(TOKENS), choices=sorted(TOKENS), help="of the networks")


def cases(options: Namespace) -> list[Case]:
    """Pair sizes, lengths and both kinds of rows; what matters most comes first, should the time run out."""
    found = []
    for size in sorted(options.sizes, key=lambda size: size != "base"):
        for length in LENGTHS:
            for kind in ("padded", "packed"):
                rows = (2048 if options.smoke else TOKENS[size]) // length
                shape = (size, rows, length)
                full = kind == "packed"
                compiled = {"transformers compiled": "default"}
                proving = f"{size}, {LENGTHS[0]} tokens, padded"
                name = f"{size}, {length} tokens, {kind}"
                if name == proving:  # further settings of the peer, where time allows them
                    compiled |= {
                        "base": {"transformers eager": ""},
                        "mini": {"transformers, CUDA graphs": "reduce-overhead"},
                    }[size]
                contestants = [Contestant("bertie", partial(ready, ready_ours, shape, full))]
                for peer, mode in compiled.items():
                    make = partial(ready, partial(ready_theirs, compiled=mode), shape, full)
                    contestants.append(Contestant(peer, make, ("transformers",)))
                settings = {"length": length, "rows": rows, "dropout": 0.0, "precision": "bf16"}
                proof = "" if name == proving else proving
                found.append(Case(name, "tokens/s", tuple(contestants), LOSS, settings=settings, proof_of=proof))
    return found


def prepare(work: Work) -> dict[str, Any]:
    """Name the card, which belongs to the machine's description."""
    import torch

    return {"machine": {"accelerator": torch.cuda.get_device_name(), "bf16_peak_tflops": peak() / 1e12}}


def peak() -> float:
    """Return the card's bf16 peak by its name, or what a large product reaches."""
    import time

    import torch

    name = torch.cuda.get_device_name()
    known = [value for key, value in PEAKS.items() if key in name.replace("-", " ").split()]
    if known and "PCIe" not in name:  # whose clocks are lower
        return known[0]
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (time.perf_counter() - started)


def ready(make: Any, shape: tuple[str, int, int], full: bool, work: Work) -> Ready:
    """Get a contestant of `pretrain.py` ready on the card; every step reads its loss, so that time is real."""
    import torch

    size, _, length = shape
    flops = flops_per_token(size, length) / peak()
    torch.cuda.reset_peak_memory_stats()
    return make(  # type: ignore[no-any-return]
        *shape,
        0.0,
        0.0,
        work,
        device="cuda",
        lengths="full" if full else "recipe",
        derive=lambda figure: {"mfu": figure * flops},
        peak_mb=lambda: round(torch.cuda.max_memory_allocated() / 1e6, 1),
    )


def main(words: list[str] | None = None) -> None:
    """Run the benchmark, where there is a card."""
    asked = sys.argv[1:] if words is None else words
    if not {"-h", "--help"} & set(asked):
        import torch

        if not torch.cuda.is_available():
            print("this benchmark needs a CUDA GPU, and torch sees none here", file=sys.stderr)
            sys.exit(2)
    rounds.main("benchmarks.gpu", words, rounds=2, repeats=10)


if __name__ == "__main__":
    main()

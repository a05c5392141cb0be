"""How many tokens a second does MLM + NSP pre-training do on one GPU, compared with compiled transformers in bf16?

BERT-base and BERT-mini train at 128 and 512 tokens, without dropout, because fast attention on a GPU has none. Rows are
either all full (packed, the peer's best case) or have the recipe's lengths (padded, one in ten short). Model FLOP
utilisation (MFU) is the arithmetic that real tokens need, as a share of the card's bf16 peak. It counts the masked-LM
head only at the 15 % masked positions; any further work of a program doesn't count. transformers uses sdpa.

Needs only torch, transformers, numpy, tokenizers, safetensors and this repository. The default run takes under eight
minutes; cases that are not done by then are left out and listed. Without CUDA it prints an error and exits with status
2.
Usage, in the repository: python -m benchmarks.gpu
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from benchmarks import rounds
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference
from benchmarks.pretrain import flops_per_token, ready_ours, ready_theirs

TOKENS = {"mini": 65_536, "base": 65_536}  # a step; the peer computes logits for all of them, some 30 GB
LENGTHS = (128, 512)
# Dense bf16 without sparsity, from the data sheets; the peak of any other card is measured.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
LOSS = largest_difference(1e-3)
SECONDS = 440.0


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.set_defaults(seconds=SECONDS)
    parser.add_argument("--sizes", nargs="+", default=list(TOKENS), choices=sorted(TOKENS), help="network sizes")


def cases(options: Namespace) -> list[Case]:
    """Make a case for each size, length and kind of rows; the most important come first, in case time runs out."""
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
                if name == proving:  # one case has time for further settings of the peer
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
    """Return the card's name and peak, for the machine's description."""
    import torch

    return {"machine": {"accelerator": torch.cuda.get_device_name(), "bf16_peak_tflops": peak() / 1e12}}


def peak() -> float:
    """Return the bf16 peak of the card's data sheet, or for an unknown card the measured speed of a large product."""
    import time

    import torch

    name = torch.cuda.get_device_name()
    known = [value for key, value in PEAKS.items() if key in name.replace("-", " ").split()]
    if known and "PCIe" not in name:  # PCIe cards have lower clocks than the data sheet's figure
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
    """Prepare a contestant of `pretrain.py` on the GPU; every step reads its loss, so that the timing is complete."""
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
    """Run the benchmark; exit with status 2 without a GPU."""
    asked = sys.argv[1:] if words is None else words
    if not {"-h", "--help"} & set(asked):
        import torch

        if not torch.cuda.is_available():
            print("this benchmark needs a CUDA GPU, and torch finds none", file=sys.stderr)
            sys.exit(2)
    rounds.main("benchmarks.gpu", words, rounds=2, repeats=10)


if __name__ == "__main__":
    main()

"""Operations of the layers in `nn/`. A folder holds an operation, its kernel in C++, and its twin in torch.

A kernel is built at first use and is held to its twin (`kernels/`). Without a compiler the twin runs instead.
"""

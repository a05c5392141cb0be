"""Dropout as a stateless hash: in torch, and the same hash in C++ for the kernels."""

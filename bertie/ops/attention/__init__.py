"""Attention over packed sequences: the primitive, its torch operator, its C++ kernel and the twin in torch."""

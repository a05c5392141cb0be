"""Cross-entropy over a vocabulary: the operation with its twin in torch, and its C++ kernel."""

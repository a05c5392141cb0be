"""Linear layers: the operation, with the twin in torch, and its C++ kernel for prediction."""

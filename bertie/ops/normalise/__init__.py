"""LayerNorm(residual + dropout(branch)): the operation with its twin in torch, and its C++ kernel."""

"""GELU: the operation, whose twin is torch's own, and its C++ kernel."""

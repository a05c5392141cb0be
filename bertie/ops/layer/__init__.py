"""A whole encoder block for inference, as one C++ kernel. Its twin is `nn/block.py`."""

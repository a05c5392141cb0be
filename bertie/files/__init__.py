"""Read text files and tables, compressed or not, as streams, and write files atomically. Nothing here imports torch.

To add a compression or a file type, add its suffix to `COMPRESSIONS` in `compression.py` or `SUFFIXES` in `text.py`.
"""

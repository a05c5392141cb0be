"""Read text files and tables, compressed or not, as streams, and write files atomically. Nothing here imports torch.

To add a compression, extend `compression.py`. To add a file type, extend `SUFFIXES` in `text.py` or `rows.py`.
"""

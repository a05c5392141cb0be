"""Read text files, compressed or not, as streams, and write files atomically. Nothing here imports torch.

To add a compression, extend `compression.py`. Formats of tables are files of `tables/`.
"""

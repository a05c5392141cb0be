"""Open text and tables, compressed or not, as streams, and write files that appear whole or not at all. No torch.

To add a compression or a kind of text file: one entry beside the suffixes already known here.
"""

"""Parts of a Transformer: attention, blocks, embeddings, heads. They know no architecture, no task and no file.

To add a part, write one file for it and test it against a plain reference.
"""

"""The parts a model is arranged from: attention, embeddings, feed-forward, blocks. Shapes in, shapes out.

Letters: T tokens in the batch, B sequences, H hidden, N heads, D head size, V vocabulary, M masked positions.
To add a part: one file, one module or function, a plain reference in its test. No part knows an architecture.
"""

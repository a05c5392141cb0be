"""Raw text to a prepared corpus on disk: documents, sentences, and memory-mapped shards of token ids. No torch.

A prepared corpus knows no objective: pairs and masks are drawn while loading, in ``bertie.data``.
To add a kind of document: a reader that yields ``documents.Document`` in constant memory.
"""

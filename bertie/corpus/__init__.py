"""Prepare a corpus from raw text: documents, sentences, and memory-mapped files of token ids. Nothing imports torch.

A prepared corpus suits any objective: ``bertie.sampling`` draws pairs and masks while it loads the corpus. To add a
format of documents, write a reader that yields ``documents.Document`` in constant memory.
"""

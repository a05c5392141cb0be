"""Text to ids and back: wraps the Rust ``tokenizers`` package at run time; the vocabulary trainer is ours. No torch.

To add a kind of tokenizer: give it the interface of ``tokenizer.Tokenizer``, and let ``reading.load`` know its files.
"""

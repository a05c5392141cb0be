"""Text to ids and back, by the Rust ``tokenizers`` package; bertie adds a reproducible vocabulary trainer. No torch.

To add a kind of tokenizer, give it the interface of ``tokenizer.Tokenizer``, and let ``reading.load`` read its files.
"""

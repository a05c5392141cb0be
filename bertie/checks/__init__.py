"""Check data before training: raw text, labelled items, and how both fit a tokenizer. Checks change nothing."""

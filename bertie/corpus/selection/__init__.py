"""Choose the documents of a corpus: drop duplicates, other languages, and documents that hold rows of test sets."""

"""Benchmarks: one file a question, each with bertie and its peers in turn on the same inputs.

The results are in docs/measured/benchmarks.md.

A new question is a file with `cases(options)`, which names what is compared, and a last line that calls
`rounds.main`; `rounds.py` does the rest.
"""

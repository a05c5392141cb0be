"""Benchmarks: one file per question, which measures bertie and its peers on the same inputs.

The results are in docs/measured/benchmarks.md.

To add a question, write a file with `cases(options)`, which returns the cases to compare, and a last line that calls
`rounds.main`. `rounds.py` does the rest.
"""

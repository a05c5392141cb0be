"""A few small C++ functions for CPUs, built at first use with the system's compiler; torch does the same without one.

Every function here has a twin in plain torch (`nn/`), which tests hold it to and which runs where there is no compiler.
"""

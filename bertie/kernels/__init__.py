"""A few small C++ functions for CPUs, built at first use with the system's compiler; torch does the same without one.

Every function here has a twin in plain torch (`nn/`). It is held to it twice: by the tests, and on each machine before
its first use (`nn/proof.py`), since compilers and processors differ.
"""

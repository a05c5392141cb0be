"""C++ functions for CPUs, built at first use with the system's compiler; without a compiler torch replaces them.

Every function here has a twin in plain torch (`nn/`). Tests compare the two, and `nn/kernel_checks.py` compares them
again on each machine before the first use, because compilers and processors differ.
"""

"""Build, check, keep and load C++ kernels, and the headers that they share."""

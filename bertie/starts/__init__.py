"""Where the weights of a new model begin."""

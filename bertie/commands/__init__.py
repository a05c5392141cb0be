"""One file per command: ``bertie NAME`` runs the function NAME of the file NAME (dashes become underscores).

A command combines functions of the other folders; it has no loops over data and no tensors. Its parameters are the
flags, the keys of its TOML file and the arguments of the Python function. Its docstring is the help. It returns a
``command.Report``.

To add one: write ``bertie/commands/NAME.py`` with a module docstring (its first line appears in ``bertie --help``) and
a fully typed, documented function ``NAME``. Import torch, and modules that import it, inside the function.
"""

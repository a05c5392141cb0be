"""One file per command: ``bertie NAME`` runs the function NAME of the file NAME (dashes become underscores).

A command composes the rooms below: no loops over data, no tensors. Its parameters are the flags, the keys of its TOML
file and the arguments of the Python function; its docstring is the help; it returns a ``command.Report``.

To add one: write ``bertie/commands/NAME.py`` with a module docstring (its first line appears in ``bertie --help``) and
a fully typed, documented function ``NAME``. Import torch, and the rooms that need it, inside the function.
"""

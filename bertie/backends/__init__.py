"""One file per way to run an encoder: eager (torch itself), onnx, openvino. `--backend` takes the file's name.

``backend.py`` is the contract; ``_choice.py``'s table says which one is taken where nobody asked. To add one: write
``bertie/backends/NAME.py`` to the contract with the class as ``BACKEND``, and give it a row of the table where it wins.
"""

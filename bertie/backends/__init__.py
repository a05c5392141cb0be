"""One file for each way to run an encoder: eager (torch itself), onnx, openvino. `--backend` takes the file's name.

``backend.py`` is the contract. The table in ``inference/choose_backend.py`` chooses the default. To add a backend,
write ``bertie/backends/NAME.py`` to the contract, with the class as ``BACKEND``, and add a row to the table where it
wins.
"""

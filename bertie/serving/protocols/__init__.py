"""One file a protocol: how its clients write items, and how they read predictions.

Each file has a function `router(hub)` that returns its routes. The app mounts all of them. A file may have a function
`refusal(error)` too: it returns the body of a refusal in the form that the protocol's clients expect.
"""

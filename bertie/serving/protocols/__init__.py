"""One file a protocol: how its clients write items, and how they read predictions.

Each file has a function `router(hub)` that returns its routes. The app mounts all of them.
"""

"""Serve models over HTTP: a batcher that knows no HTTP, an app that knows no queue, and a file for each protocol.

`hub.py` holds the models of a server and connects both. To add a protocol, write a file in `protocols/`.
"""

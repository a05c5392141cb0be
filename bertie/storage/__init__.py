"""Object stores: bring inputs into a bounded local cache, and upload outputs so that nobody sees half of one.

``store.py`` alone knows fsspec. Commands know nothing of it: they get local paths (``commands/_storage.py``).
"""

"""What runs on servers in Python: the standard library of Debian 12 alone, and nothing else of Jarvis.

A package below with a ``__main__`` is a program; ``jarvis.remote.program`` packs it with what it imports.
"""

"""The figures of the documents: ``make bench`` prints them and writes ``.jarvis/bench.json``."""

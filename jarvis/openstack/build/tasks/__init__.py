"""Programs of the Jobs: they run in pods, by the standard library alone, and import nothing of Jarvis."""

"""A checkout as an operator works in it: the environment of its shell, its stack, and the lab below it."""

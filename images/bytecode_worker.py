"""Compiles the Python files that stdin lists, one a line: the file, a tab, its path in the image.

``images.bytecode`` runs it; it imports nothing but the standard library, since it runs without any
site-packages, possibly under another interpreter than its caller.
"""

import py_compile
import sys


def main() -> None:
    """Compiles each file to ``__pycache__`` beside it; what is not valid Python is left without."""
    tag = sys.implementation.cache_tag
    for line in sys.stdin:
        file, path = line.rstrip("\n").split("\t")
        folder, _, name = file.rpartition("/")
        try:
            py_compile.compile(
                file,
                f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc",
                path,
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError:
            continue


if __name__ == "__main__":
    main()

"""What the extension module has, beside the functions and classes of the same name in Python.

Each of those has the signature of the one in Python: see :func:`.prefer_compiled`.
"""

def install() -> None: ...

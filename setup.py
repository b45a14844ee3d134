"""What pyproject.toml cannot say: the extension module, which is optional.

Without a compiler, or on another implementation than CPython, the installation succeeds, and everything works
in pure Python: ``wsproto_core.COMPILED`` tells.
"""

from __future__ import annotations

import os
import platform
from glob import glob
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FOLDER = "wsproto_core/_speedups"

FLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-missing-field-initializers"]


class BuildOptional(build_ext):
    """Says so if the extension module was not built."""

    def build_extension(self, ext: Any) -> None:
        if self.compiler.compiler_type != "msvc":
            # Flags of the environment come last, so that they win.
            ext.extra_compile_args = [*FLAGS, *os.environ.get("WSPROTO_CORE_CFLAGS", "").split()]
        super().build_extension(ext)

    def run(self) -> None:
        super().run()
        for ext in self.extensions:
            if not os.path.exists(self.get_ext_fullpath(ext.name)):
                print(f"{ext.name} was not built: wsproto-core is installed in pure Python, and is slower")


extensions = [
    Extension(
        "wsproto_core._speedups._compiled",
        sources=sorted(glob(f"{FOLDER}/*.c")),
        depends=sorted(glob(f"{FOLDER}/*.h")),
        optional=True,
    ),
    Extension(
        "adapters.asyncio._speedups._compiled",
        sources=sorted(glob("adapters/asyncio/_speedups/*.c")),
        depends=sorted(glob("adapters/asyncio/_speedups/*.h") + glob(f"{FOLDER}/methods.h")),
        include_dirs=[FOLDER],
        optional=True,
    ),
]

setup(
    ext_modules=extensions if platform.python_implementation() == "CPython" else [],
    cmdclass={"build_ext": BuildOptional},
)

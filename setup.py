"""What pyproject.toml cannot say: the two names of the adapters; the extension modules, which are optional.

Without a compiler, or on another implementation than CPython, the installation succeeds, and everything works
in pure Python: ``wsproto_core.COMPILED`` tells. With ``WSPROTO_CORE_PURE=1``, nothing is compiled.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from glob import glob
from pathlib import Path
from typing import Any

from setuptools import Extension, find_namespace_packages, setup
from setuptools.command.build_ext import build_ext

FOLDER = "wsproto_core/_speedups"

# `adapters` is a namespace package (PEP 420): it must not get an __init__.py. Each package in it is an
# ordinary one. Its files are installed twice: no other package can take the name `wsproto_core.adapters`.
FIRST_NAME, SECOND_NAME = "adapters", "wsproto_core.adapters"
PACKAGES = find_namespace_packages(include=["wsproto_core*", "adapters*"], exclude=["*.__pycache__*"])
COPIES = [f"wsproto_core.{name}" for name in PACKAGES if name.partition(".")[0] == FIRST_NAME]

FLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-missing-field-initializers"]


def read_version() -> str:
    (version,) = re.findall('^VERSION = "(.+)"$', Path("wsproto_core/version.py").read_text(), re.MULTILINE)
    return str(version)


def make_urls(repository: str) -> dict[str, str]:
    """The addresses in the metadata: those of the files at the tag of this version."""
    files = f"{repository}/blob/v{read_version()}"
    return {
        "Homepage": repository,
        "Documentation": f"{files}/docs/README.md",
        "Changelog": f"{files}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


def make_description(repository: str) -> str:
    """The README. Its links to files are relative, which a package index cannot follow."""
    text = Path("README.md").read_text(encoding="utf-8")
    if not repository:
        return text
    # A picture is the file itself, and not the page about it.
    text = re.sub(r"(!\[[^]]*\]\()(?!\w+:)", rf"\g<1>{repository}/raw/v{read_version()}/", text)
    return re.sub(r"\]\((?!\w+:|#)", f"]({repository}/blob/v{read_version()}/", text)


class BuildOptional(build_ext):
    """Says so if an extension module was not built; copies those of the adapters for the second name."""

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
            elif ext.name.startswith(f"{FIRST_NAME}.") and not self.inplace:
                # The module is the same: it knows its name when it is imported.
                copy = os.path.join(self.build_lib, self.get_ext_filename(f"wsproto_core.{ext.name}"))
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copy(self.get_ext_fullpath(ext.name), copy)


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

# Without extension modules, a wheel is for every platform.
PURE = os.environ.get("WSPROTO_CORE_PURE", "") not in ("", "0")

# Who releases a version names the repository, for example https://github.com/OWNER/NAME.
REPOSITORY = os.environ.get("WSPROTO_CORE_REPOSITORY", "").rstrip("/")

setup(
    long_description=make_description(REPOSITORY),
    long_description_content_type="text/markdown",
    project_urls=make_urls(REPOSITORY) if REPOSITORY else {},
    packages=sorted({*PACKAGES, *COPIES}),
    package_dir={SECOND_NAME: FIRST_NAME},
    py_modules=["wsproto_core_pytest"],
    ext_modules=extensions if platform.python_implementation() == "CPython" and not PURE else [],
    cmdclass={"build_ext": BuildOptional},
)

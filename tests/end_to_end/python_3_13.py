"""An environment of the Python that the app is deployed on, with the worker library of Azure in it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from local.cloud import PROJECT

RUNTIME = "azure-functions-runtime==1.3.0"
FOLDER = PROJECT / ".cache" / "worker-3.13"
_INSTALL_SECONDS = 300


def find_python() -> Path | None:
    """Return a Python 3.13 of this machine that really runs, or None."""
    return next((path for path in _candidates() if _runs(path)), None)


def environment_of(python: Path) -> Path:
    """Return the Python of an environment with the app's requirements; it is made once, and kept."""
    requirements = PROJECT / "requirements.txt"
    made_of = hashlib.sha256(f"{RUNTIME}\n{python}\n{requirements.read_text()}".encode()).hexdigest()
    FOLDER.parent.mkdir(exist_ok=True)
    with FOLDER.with_name(f"{FOLDER.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        marker = FOLDER / "made-of"
        if not marker.exists() or marker.read_text() != made_of:
            _run(python, "-m", "venv", "--clear", str(FOLDER))
            _run(FOLDER / "bin" / "python", "-m", "pip", "install", "--quiet", RUNTIME, "-r", str(requirements))
            marker.write_text(made_of)
    return FOLDER / "bin" / "python"


def _candidates() -> Iterator[Path]:
    if on_path := shutil.which("python3.13"):
        yield Path(on_path)
    for root in (os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"):
        if root:
            yield from sorted(Path(root).glob("versions/3.13*/bin/python"))


def _runs(python: Path) -> bool:
    # A shim of a version manager may be on the path and stand for nothing.
    tried = subprocess.run([python, "-c", "import ssl, venv"], capture_output=True, check=False)  # noqa: S603
    return tried.returncode == 0


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr

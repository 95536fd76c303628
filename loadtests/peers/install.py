"""The peers' environments: ``python -m loadtests.peers.install [names]`` makes ``.venv-peers/<name>`` for each.

One environment for each file of ``requirements``. Done again, it installs only what is missing or has other pins.
Knows no peer, and imports nothing of Chorale.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements"
FOLDER = ROOT / ".venv-peers"
_WITHOUT = "# Without: "


class InstallError(Exception):
    """An environment could not be made; the message says why."""


@dataclass(frozen=True)
class Environment:
    """One peer's packages.

    Args:
        requirements: a pip requirements file, everything pinned.
        folder: of the virtual environment.
    """

    requirements: Path
    folder: Path

    @property
    def name(self) -> str:
        """As on the command line."""
        return self.requirements.stem

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def installed(self) -> bool:
        """Whether it was made from these very pins."""
        stamp = self._stamp
        return self.python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == self._digest()

    def install(self) -> None:
        """Make it anew, with nothing left of an earlier one.

        Raises:
            InstallError: pip failed, or the packages do not fit together.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self._run(sys.executable, "-m", "venv", str(self.folder))
        pip = (str(self.python), "-m", "pip", "--disable-pip-version-check")
        # The pins are all that is needed, and some of what packages ask for is not (see `without`).
        self._run(*pip, "install", "--quiet", "--no-deps", "-r", str(self.requirements))
        self._check(*pip, "check")
        self._stamp.write_text(self._digest(), encoding="utf-8")

    def version(self, package: str) -> str:
        """The pin of one package."""
        lines = self.requirements.read_text(encoding="utf-8").splitlines()
        pins = dict(line.split("==", 1) for line in lines if "==" in line)
        return pins.get(package, "?")

    @property
    def without(self) -> tuple[str, ...]:
        """Packages that others ask for and do not need here: those of a line ``# Without: <names>``."""
        lines = self.requirements.read_text(encoding="utf-8").splitlines()
        return tuple(name for line in lines if line.startswith(_WITHOUT) for name in line[len(_WITHOUT) :].split())

    @property
    def _stamp(self) -> Path:
        return self.folder / ".requirements"

    def _digest(self) -> str:
        python = f"{sys.version_info.major}.{sys.version_info.minor}\n".encode()
        return hashlib.sha256(python + self.requirements.read_bytes()).hexdigest()

    def _check(self, *command: str) -> None:
        """As `_run`, but for complaints about what is left out."""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        asked = [f" requires {name}" for name in self.without]
        wrong = [line for line in done.stdout.splitlines() if not any(part in line for part in asked)]
        if done.returncode and wrong:
            said = "\n".join(wrong[-15:])
            raise InstallError(f"{self.name}: {' '.join(command)} failed:\n{said}")

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise InstallError(f"{self.name}: {' '.join(command)} failed:\n{said}")


def environments(requirements: Path = REQUIREMENTS, folder: Path = FOLDER) -> dict[str, Environment]:
    """All of them, by name."""
    return {file.stem: Environment(file, folder / file.stem) for file in sorted(requirements.glob("*.txt"))}


def environment(name: str) -> Environment:
    """One of them."""
    return environments()[name]


def install(known: dict[str, Environment], names: Sequence[str]) -> int:
    """Make what is missing; a failure does not keep the others from being tried. Returns the exit status."""
    if unknown := sorted(set(names) - set(known)):
        _say(f"error: unknown peer {', '.join(unknown)}; known: {', '.join(known)}")
        return 2
    failed = False
    for environment in (known[name] for name in names or known):
        if environment.installed:
            _say(f"{environment.name}: already installed")
            continue
        _say(f"{environment.name}: installing, up to a few minutes")
        try:
            environment.install()
        except InstallError as error:
            failed = True
            _say(f"error: {error}")
    return int(failed)


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Install the peers' environments.")
    parser.add_argument("names", nargs="*", help="which; none: all")
    sys.exit(install(environments(), parser.parse_args().names))

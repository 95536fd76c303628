"""Several processes, killed processes and full disks. Real processes, real limits."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.core.adapters import AdapterLibrary, damage
from services.core.errors import ServingError
from tests.adapters import BASE, CHECK, write_adapter

PROGRAM = """
import resource, signal, sys, time
from pathlib import Path
from services.core.adapters import AdapterLibrary
from services.core.errors import ServingError
from tests.adapters import BASE, CHECK

home, name, action, *sources = sys.argv[1:]
library = AdapterLibrary(Path(home))

def slow(folder):
    print("checking", flush=True)
    time.sleep(60)

if action == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
if action == "swap":
    while True:
        for source in sources:
            library.add(BASE, name, Path(source), None, CHECK, replace=True)
if action == "churn":
    while True:
        library.add(BASE, name, Path(sources[0]), None, CHECK)
        library.remove(BASE, name)
try:
    added = library.add(BASE, name, Path(sources[0]), None, slow if action == "slow" else CHECK)
    print(added.adapter.digest, added.already, flush=True)
except ServingError as error:
    print(error, flush=True)
"""


def start(home: Path, action: str, *sources: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, str(home), "poet", action, *map(str, sources)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(process: "subprocess.Popen[str]") -> str:
    return process.communicate(timeout=60)[0].strip()


def end(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    return write_adapter(tmp_path / "one", seed=1), write_adapter(tmp_path / "two", seed=2)


def test_of_two_that_add_a_name_at_once_one_wins(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    words = sorted(said(process) for process in [start(tmp_path, "add", source) for source in sources])
    adapter = AdapterLibrary(tmp_path).find(BASE, "poet")
    assert words[0] == f"{adapter.digest} False" or words[1] == f"{adapter.digest} False"
    assert sum("CONFLICT: 'poet' has other files, as version 1" in one for one in words) == 1
    assert damage(adapter) is None


def test_of_two_that_add_the_same_files_one_was_late(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    words = [said(process) for process in [start(tmp_path, "add", sources[0]) for _ in range(2)]]
    assert sorted(one.split()[1] for one in words) == ["False", "True"]
    assert len(AdapterLibrary(tmp_path).list()) == 1


def test_a_reader_never_meets_a_mixture_while_a_name_is_swapped(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    library = AdapterLibrary(tmp_path)
    weights = {}
    for source in sources:
        adapter, _ = library.add(BASE, "poet", source, None, CHECK, replace=True)
        weights[adapter.digest] = hashlib.sha256((source / "adapter_model.safetensors").read_bytes()).hexdigest()
    writer = start(tmp_path, "swap", *sources)
    met = []
    while len(set(met)) < 2 or len(met) < 2000:
        adapter = library.find(BASE, "poet")
        content = (adapter.folder / "adapter_model.safetensors").read_bytes()
        assert hashlib.sha256(content).hexdigest() == weights[adapter.digest]
        met.append(adapter.digest)
    assert writer.poll() is None
    end(writer)


def test_a_reader_meets_all_or_nothing_while_a_name_comes_and_goes(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    library = AdapterLibrary(tmp_path)
    writer = start(tmp_path, "churn", sources[0])
    there = gone = 0
    started = time.monotonic()
    while min(there, gone) < 50 and time.monotonic() - started < 60:
        try:
            assert library.find(BASE, "poet").version == "1"
            there += 1
        except ServingError as error:
            assert error.code == "NOT_FOUND"
            gone += 1
        library.list()
    assert writer.poll() is None
    end(writer)
    assert min(there, gone) >= 50


def test_a_killed_writer_leaves_nothing_half_and_no_lock(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    killed = start(tmp_path, "slow", sources[0])
    assert killed.stdout
    assert killed.stdout.readline() == "checking\n"
    end(killed)
    library = AdapterLibrary(tmp_path)
    assert library.list() == ()
    with pytest.raises(ServingError, match="use one of: none"):
        library.find(BASE, "poet")
    adapter, already = library.add(BASE, "poet", sources[1], None, CHECK)
    assert (adapter.version, already) == ("1", False)
    assert not [path for path in tmp_path.rglob(".*") if path.name in (".adding", ".removed", ".current.new")]


def test_writers_killed_anywhere_leave_a_sound_library(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    library = AdapterLibrary(tmp_path)
    for delay in (0.0, 0.003, 0.011, 0.02):
        for action in ("swap", "churn"):
            writer = start(tmp_path, action, *sources)
            while not library.list():
                assert writer.poll() is None
                time.sleep(0.001)
            time.sleep(delay)
            end(writer)
            assert all(damage(adapter) is None for adapter in library.list())
            library.add(BASE, "poet", sources[0], None, CHECK, replace=True)
            assert damage(library.find(BASE, "poet")) is None
            library.remove(BASE, "poet")


def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    assert said(start(tmp_path, "full", sources[0])).startswith(
        "UNAVAILABLE: The adapter library cannot be written (File too large); free space in CHORALE_HOME."
    )
    library = AdapterLibrary(tmp_path)
    assert library.list() == ()
    adapter, _ = library.add(BASE, "poet", sources[1], None, CHECK)
    said(start(tmp_path, "full", sources[0]))
    assert library.list() == (adapter,)
    assert not list(tmp_path.rglob(".adding"))

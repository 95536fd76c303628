"""Builds when the disk is full, and when two processes want the same artefact. Real processes, real limits."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from models.store import ArtefactStore
from tests.serving import fake_spec

SPEC = fake_spec(architecture="none")

PROGRAM = """
import logging, resource, signal, sys, time
from pathlib import Path
from models.store import ArtefactStore, StoreError
from tests.serving import fake_spec

home, size, limit, seconds = Path(sys.argv[1]), *map(float, sys.argv[2:5])
logging.basicConfig(format="%(message)s")
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))

def build(spec, target):
    print("building", flush=True)
    time.sleep(seconds)
    (target / "model.onnx").write_bytes(b"x" * int(size))
    return {}

try:
    ArtefactStore(home).ensure(fake_spec(architecture="none"), build)
    print("sound", flush=True)
except StoreError as error:
    print(f"error: {error}", flush=True)
"""


def start(home: Path, size: int = 100, limit: int = 0, seconds: float = 0.0) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, str(home), str(size), str(limit), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_full_disk_publishes_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    said, _ = start(tmp_path, size=1_000_000, limit=50_000).communicate(timeout=60)
    assert f"error: cannot write {tmp_path}" in said
    assert "free some space, or move CHORALE_HOME" in said
    store = ArtefactStore(tmp_path)
    assert store.fault(SPEC) == "not built"
    assert [path.name for path in store.folder(SPEC).parent.iterdir()] == ["fp32.lock"]
    assert start(tmp_path).communicate(timeout=60)[0].endswith("sound\n")  # with room again, it is built


def test_a_full_disk_leaves_the_earlier_artefact(tmp_path: Path) -> None:
    assert start(tmp_path).communicate(timeout=60)[0].endswith("sound\n")
    store = ArtefactStore(tmp_path)
    manifest = (store.folder(SPEC) / "manifest.json").read_text()
    (store.folder(SPEC) / "manifest.json").write_text(manifest.replace('"recipe": "', '"recipe": "0'))  # now stale
    said, _ = start(tmp_path, size=1_000_000, limit=50_000).communicate(timeout=60)
    assert "error: cannot write" in said
    assert (store.folder(SPEC) / "model.onnx").read_bytes() == b"x" * 100


def test_of_two_builds_at_once_one_builds_and_the_other_waits_and_says_so(tmp_path: Path) -> None:
    both = [start(tmp_path, seconds=1.5) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert all(words.endswith("sound\n") for words in said)
    assert "".join(said).count("building\n") == 1
    assert "".join(said).count("another process is building fake@1 fp32; waiting for it") == 1


def test_the_lock_of_a_killed_build_does_not_block(tmp_path: Path) -> None:
    killed = start(tmp_path, seconds=60)
    assert killed.stdout
    assert killed.stdout.readline() == "building\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    started = time.monotonic()
    assert start(tmp_path).communicate(timeout=60)[0] == "building\nsound\n"
    assert time.monotonic() - started < 30

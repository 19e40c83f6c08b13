"""Executes the notebook in a pinned environment; with --write, keeps its outputs.

The environment and the data lie in the user's cache, by the hash of what was
asked for. A cell that fails fails the run; figures are asserted in the cells.
"""
import hashlib, os, pathlib, subprocess, sys, tarfile, tempfile, venv

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "nextbest-notebooks"

EXECUTE = """
import sys, nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
source, write = sys.argv[1], sys.argv[2] == "write"
book = nbformat.read(source, 4)
kernel = AsyncKernelManager(kernel_name="python3", transport="ipc")
NotebookClient(book, km=kernel, timeout=120).execute()
for cell in book.cells:
    cell.metadata.pop("execution", None)
if write:
    nbformat.write(book, source)
"""


def digest(*names):
    h = hashlib.sha256(sys.version.encode())
    for n in names:
        h.update((HERE / n).read_bytes())
    return h.hexdigest()[:12]


def environment():
    """Returns the Python of an environment that holds requirements.txt."""
    folder = CACHE / ("python-" + digest("requirements.txt"))
    python, done = folder / "bin" / "python", folder / "complete"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--require-hashes", "-r", HERE / "requirements.txt"], check=True)
        done.touch()
    return python


def sample(python):
    """Returns the folder of obp's source distribution, which pip checks; obp is not run."""
    folder = CACHE / ("data-" + digest("requirements.txt", "data.txt"))
    if not (folder / "complete").exists():
        subprocess.run([python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation",
                        "--ignore-requires-python", "--require-hashes", "-r", HERE / "data.txt", "-d", folder], check=True)
        with tarfile.open(folder / "obp-0.5.7.tar.gz") as t:
            t.extractall(folder, filter="data")
        (folder / "complete").touch()
    return folder / "obp-0.5.7" / "obp"


def main():
    if sys.version_info < (3, 11):
        print("notebooks: skipped, they need Python 3.11 or later")
        return
    python = environment()
    data = os.environ.get("NEXTBEST_TEST_DATA") or str(HERE.parent.parent / "shared" / "data")
    with tempfile.TemporaryDirectory() as scratch:
        env = dict(os.environ, NEXTBEST=str(HERE.parent / "bin" / "nextbest"), OBP=str(sample(python)), SCRATCH=scratch, DATA=data, PYTHONDONTWRITEBYTECODE="1")
        write = "write" if "--write" in sys.argv[1:] else "check"
        subprocess.run([python, "-c", EXECUTE, HERE / "trust.ipynb", write], env=env, check=True)
    print("notebooks: trust.ipynb ran")


main()

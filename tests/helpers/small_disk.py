"""Run in a mount namespace of its own: trains on file systems of given sizes, then on with room, and prints what came of it.

Usage: python -m tests.helpers.small_disk FOLDER SIZE,SIZE,... CONFIG OVERRIDE...

FOLDER becomes the file system, of which nothing is left.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from shards.files import file_sha256
from tests.helpers.fork_server import ForkServer
from tests.helpers.runs import checkpoints, column


def main(disk: str, sizes: str, *arguments: str) -> None:
    with tempfile.TemporaryDirectory() as outputs:
        subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
        server = ForkServer(Path(outputs))
        for size in sizes.split(","):
            subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
            run = Path(disk) / size
            first, said = server.run("train", *arguments, f"run.dir={run}")
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
            again, more = server.run("train", *arguments, f"run.dir={run}")
            weights = {file.name: file_sha256(file) for file in checkpoints(run)[-1].glob("*.safetensors")} if not again else more
            told = {"size": size, "codes": [first, again], "said": said, "weights": weights, "steps": column(run, "step")}
            print(json.dumps(told), flush=True)
            subprocess.run(["rm", "-r", run], check=True)
        server.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

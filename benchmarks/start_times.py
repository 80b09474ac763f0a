"""What a start costs before any work: a process that imports what trains and ends, with and without `dsva.own_process`.

    python -m benchmarks.start_times [--rounds 7]

Prints a markdown table; the two kinds take turns.
"""

import argparse
import statistics
import subprocess
import sys
import time

USUAL, OURS = "as usual", "as it is here"
ALL = """
with dsva.own_process.imported_for_good():
    import dsva.train.run
print(flush=True)
"""
WAYS = {
    USUAL: f"import dsva.own_process{ALL}",
    OURS: f"import dsva.own_process\ndsva.own_process.declare_own_process(){ALL}",
}


def start(program: str) -> tuple[float, float]:
    """Return the seconds until a process has imported what it runs, and until it has ended."""
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        imported = time.monotonic()
    assert process.returncode == 0
    return imported - began, time.monotonic() - began


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    start(WAYS[OURS])  # its files are in memory from then on
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, program in WAYS.items():
            times[way].append(start(program))
    print(f"| seconds, median of {rounds} | imported | ended | ratio |\n|:--|--:|--:|--:|")
    first = statistics.median(ended for _, ended in times[USUAL])
    for way, found in times.items():
        imported, ended = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"| {way} | {imported:.2f} | {ended:.2f} | {ended / first:.2f} |")


if __name__ == "__main__":
    main()

"""Writes docs/scaling.md and its picture; with --measure SHARDS measures this machine first.

python -m benchmarks.scaling [--measure SHARDS]
"""

import argparse
import json
from pathlib import Path

from benchmarks.scaling.measure import measure_layouts
from benchmarks.scaling.page import MEASURED, PAGE, load_measured, page, picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=Path, metavar="SHARDS")
    arguments = parser.parse_args()
    if arguments.measure:
        MEASURED.write_text(json.dumps(measure_layouts(arguments.measure), indent=1) + "\n")
    measured = load_measured()
    PAGE.write_text(page(measured))
    picture(measured["rows"][0]["two"]["read_bytes"], PAGE.with_suffix(".svg"))


if __name__ == "__main__":
    main()

"""`python -m launch.doctor` is `dsva doctor`, and says something useful even where packages are missing that `dsva` needs."""

import sys

from dsva.exit_codes import MISTAKE
from shards.errors import UserError

try:
    import typer

    from launch import voice
    from launch.doctor.command import doctor
except ImportError as error:
    print(f"FAIL packages: {error}: install with `pip install -c constraints.txt .` in this environment", file=sys.stderr)
    sys.exit(MISTAKE)

try:
    voice.set_up()
    typer.run(doctor)
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(MISTAKE)

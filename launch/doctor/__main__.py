"""`python -m launch.doctor` is `dsva doctor`, and says something useful even where packages are missing that `dsva` needs."""

import sys

try:
    import typer

    from launch.doctor.command import doctor
except ImportError as error:
    print(f"FAIL packages: {error}: install with `pip install -c constraints.txt .` in this environment", file=sys.stderr)
    sys.exit(2)

typer.run(doctor)

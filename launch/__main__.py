"""`python -m launch` is `dsva`, for launchers such as torchrun."""

from launch.cli.main import main

main()

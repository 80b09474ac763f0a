"""What training on 1 to 64 nodes would take, by arithmetic on what was measured: writes docs/scaling.md."""

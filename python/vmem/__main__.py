"""`python -m vmem` is the command `vmem`."""

from vmem.cli import main

main(prog_name="vmem")

"""`python -m vmem` is the command `vmem`, and answers build scripts: `--cflags --libs --cmakedir`."""

import sys

from vmem.embedding import ANSWERS
from vmem.errors import ConfigError


def main() -> None:
    """Answers on one line, in the order of the questions; any other argument is the command's."""
    questions = sys.argv[1:]
    if not questions or not all(question in ANSWERS for question in questions):
        from vmem.cli import main as command

        command(prog_name="vmem")
        return
    try:
        print(*(ANSWERS[question]() for question in questions))
    except ConfigError as error:
        sys.exit(f"vmem: {error}")


if __name__ == "__main__":
    main()

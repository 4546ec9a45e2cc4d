"""The pages of the documentation, their code blocks, and how each block is held against the program."""

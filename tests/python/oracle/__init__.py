"""The MMU against oracles that share no code with it: another emulator, and published reference counts."""

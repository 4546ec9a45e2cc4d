"""QMP, QEMU's machine protocol, for simulated VMs: `vmem serve`. Guide: docs/guides/qmp.md.

Below the server nothing does input or output: `lexer` → `messages` → `parser` make values of bytes, `session`
answers them with `commands`, `encode` makes bytes of the answers. What is said, down to the wording of errors
and the order of keys, is what QEMU 7.2 says.
"""

"""vmem under and beside other programs. Each module needs the extra of its name."""

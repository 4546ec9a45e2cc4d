"""Every combination of the bits that decide one access, against rules written down from the manuals."""

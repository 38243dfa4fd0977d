"""Every outside shape of messages and answers. Pure and synchronous: no clock and no I/O."""

"""Every outside shape: pure, synchronous, no clock, no I/O."""

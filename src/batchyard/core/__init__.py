"""The law: pure functions over the nouns. No clock, no dice, no I/O; `now_ms` is an argument."""

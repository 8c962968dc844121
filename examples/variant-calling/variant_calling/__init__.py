"""Variant calling on phage lambda: the parts that the step programs, the local runner and the driver share."""

"""The engine: the only hand that changes a job, in turns."""

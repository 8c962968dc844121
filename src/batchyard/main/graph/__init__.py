"""The drawing of an environment: what a template says of who needs, fills and writes to whom, laid out in layers."""

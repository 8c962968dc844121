"""The memory: what must outlive the process. It knows records, not what a legal move is."""

"""The ground under jobs: scratch space that grows before it is full, and is given back."""

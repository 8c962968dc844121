"""What AWS publishes of its resource types, in a small file: which properties there are, of which types, and what changes replace."""

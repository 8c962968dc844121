"""What an update changes and in which order, pure."""

"""What each command does; every module here is imported only when its command runs."""

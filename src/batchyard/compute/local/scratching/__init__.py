"""The ground under the jobs of a node: which back end is taken, who watches it, who waits while nobody does, and what is told of it.

Nothing is imported here: who only wants to read what a node has written down (`told`) loads no more than that.
"""

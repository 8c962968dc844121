"""The muscles: providers that start instances and run attempts on them."""

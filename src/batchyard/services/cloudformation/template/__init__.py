"""The language of templates, pure: text in, what is meant out, with the line of everything that is wrong."""

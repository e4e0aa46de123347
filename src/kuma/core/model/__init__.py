"""What a resource is: kinds, metadata, labels, names and the text forms of specs."""

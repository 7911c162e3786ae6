"""Indices, documents, search and the reindex family, as values and decisions: nothing here waits, reads or sends."""

"""The REST front of a member: HTTP in, an action, HTTP out."""

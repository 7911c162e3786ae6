"""HTTP/1.1 of our own over httptools: what a client may send, and how it is answered, whoever answers."""

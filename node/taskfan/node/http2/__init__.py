"""gRPC's wire as pure state: HTTP/2 frames, header blocks, flow control and streams, without a socket."""

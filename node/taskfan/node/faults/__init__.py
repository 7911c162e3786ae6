"""Faults on purpose: rules that spoil the frames between members, and the transport that obeys them."""

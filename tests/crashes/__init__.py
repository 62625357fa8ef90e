"""Processes that die, stall and crowd each other, and what a store must have kept of its promises."""

"""Adapters for agent frameworks, one file each: media of the framework, kept as long as it should be.

Each takes a store that somebody else has opened, and never closes it. None is imported with mediakeep:
`mediakeep.integrations.agno` needs agno, and names the extra to install where that is missing.
"""

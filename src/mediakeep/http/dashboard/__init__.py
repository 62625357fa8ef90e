"""The window: pages at `/` that show what the store keeps, to whoever has a token for it.

Pages are rendered here, every value escaped; what moves is a handful of small modules in `static`, which
speak to the API that everybody uses. A page shows what its token may see and nothing else.
"""

"""One module per format: a function of a path that returns what the file holds.

A reader executes nothing in the file, checks sizes before it takes memory, and raises
:class:`topograph.errors.TopographError` and nothing else. :mod:`topograph.inspection.files` picks
it by the file's content.
"""

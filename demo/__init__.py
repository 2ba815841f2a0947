"""The main job on real input.

The flights that left New York in 2013, in a database of six copies.
"""

"""The main job on real input: the flights that left New York in 2013, in a database of six copies."""

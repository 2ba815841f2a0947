# Everything in this module is reached from Cython only.

"""The mathematics of altuna, which imports none of its other parts."""

"""Scans to try things on: an abdomen phantom made here, the MNI152 brain, folders of labelled scans, public files.

`phantom.phantom` makes a scan with labels; `catalogue.samples()` lists everything that can be opened by name.
"""

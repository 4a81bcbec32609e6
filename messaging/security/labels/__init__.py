"""Labels along the flow of data: what a handler makes of what it was given bears the labels of what it was given.

The lattice is ``core.labels``, the steps of the gate are ``gate/steps/label.py`` and ``gate/steps/accept.py``.
"""

"""More than one machine: the tasks in several processes, placed and restarted by Ray.

The page stays outside. `replica.py` is what runs on each GPU, `cluster.py` starts those, and
`page.py` sends calls to them. Only this folder imports ray, which requirements-scale.txt names.
"""

"""The job the library starts with: a straight line that tells two classes of points apart.

`data` gets the points, `training` finds the line with the native engine, `pictures` draws what came
out; each can be used without the next one. The command `tinygrad-edu train` joins the three.
"""

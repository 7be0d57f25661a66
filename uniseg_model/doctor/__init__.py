"""What is wrong with a data set, and how to mend it: looked at before anything is trained.

findings   one thing that is wrong: value, rule, next step
layout     which files belong together, in the layouts that people have
checks     one case alone, and all of them together
examine    the whole data set
mend       safe fixes, into a copy
"""

"""One module a view: what people and programs see of a subject, how it is read, and what it is shown as.

A module reads under the caller's rights, for every door. Where people look at the subject, the module also has a typed
model of what they are shown: marks, tones, warnings and what is left out are decided there once, and the terminal and
the console only draw them. Looking needs neither a database nor Temporal, so what reads is loaded when it reads.
"""

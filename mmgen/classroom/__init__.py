"""The teacher's kit: build assignments from their masters, grade what comes back.

A thin layer over otter-grader 7: ``build`` turns a master notebook into what students
and graders get, ``grade`` runs every submission in a sandbox and then otter's tests.
"""

"""A small functions host: serves what the `function_app.py` of a folder registers, as the host in Azure does.

__main__        the process: load the app, serve it, run its timers
registration    loads the app and refuses what the worker in Azure would refuse
routes          route templates: parsing, order, matching
server          HTTP in and out, and the admin routes
timers          runs timer functions on their schedules, and now when asked
ncrontab        the schedules: six-field NCRONTAB expressions
"""

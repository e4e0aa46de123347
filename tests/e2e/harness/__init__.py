"""What the end-to-end tests are built from: the three programs as processes, small applications, clients and load.

Nothing here looks into the product: it starts programs, writes files, sends traffic and reads what a user can read.
"""

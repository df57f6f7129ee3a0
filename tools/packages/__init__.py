"""What is handed out (``make dist``): source distribution, wheel, single file and Debian package, of one tree.

The same tree gives the same bytes: each file in them has the day of the changelog's latest version.
"""

"""What is handed out (``make dist``): source distribution, wheel, single file, Debian package and SBOM, of one tree.

The same tree gives the same bytes: each file in them has the day of the changelog's latest version.
"""

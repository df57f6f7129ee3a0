"""The flight recorder: holds what came last in memory, and writes it when a trigger fires.

``segments.py`` holds them, ``triggers.py`` has the triggers, ``beside.py`` judges meanwhile where that is one,
``shelf.py`` has the directory of the files, and ``recorder.py`` runs it; ``hosted.py`` runs it beside the live source.
``snapshot.py`` asks one that runs for a file.
"""

"""The commands of ``dlio-fast``, a module each: ``add(subparsers)`` and what it runs, ``execute(args)``."""

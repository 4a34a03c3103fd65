"""What is kept: `base.py` says what a store promises, `disk.py` keeps it on diskcache."""

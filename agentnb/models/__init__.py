"""Language models behind one protocol: `base.py` says what a model is, each other file is one provider."""

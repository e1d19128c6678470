"""The Cloud API of Meta: the path for campaigns."""

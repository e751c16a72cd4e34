"""Wire formats to and from core values. Pure functions; siblings never import each other."""
